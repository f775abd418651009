"""Our docstrings for mkdocstrings: `Shape:` and `Source:` are sections, too; no section needs a blank line before."""

import re
import textwrap

import griffe

SECTIONS = ("Args", "Attributes", "Shape", "Returns", "Raises", "Source")
START = re.compile(rf"^({'|'.join(SECTIONS)}):(.*)$")


class Docstrings(griffe.Extension):
    """Changes the text of each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        if obj.docstring:
            obj.docstring.value = with_sections(obj.docstring.value)


def with_sections(text: str) -> str:
    """Blank lines before sections; of Shape a list, of Returns and Source a paragraph."""
    first, _, rest = text.partition("\n")
    parts: list[tuple[str, list[str]]] = [("", [first])]
    for line in textwrap.dedent(rest).splitlines():
        if match := START.match(line):
            parts.append((match[1], [match[2]] if match[2].strip() else []))
        else:
            parts[-1][1].append(line)
    return "\n\n".join(_section(name, lines) for name, lines in parts)


def _section(name: str, lines: list[str]) -> str:
    content = textwrap.dedent("\n".join(lines)).strip("\n")
    if not name:
        return content
    if name not in ("Shape", "Returns", "Source"):
        return f"{name}:\n{textwrap.indent(content, '    ')}"
    entries = re.sub(r"\n +", " ", content).splitlines()  # continuation lines are indented
    if name != "Shape" or not all(re.match(r"[\w, ]+: ", entry) for entry in entries):
        return f"**{name}:** {' '.join(entries)}"
    return f"**{name}:**\n\n" + "\n".join(f"- {entry}" for entry in entries)
