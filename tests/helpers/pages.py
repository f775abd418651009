"""README, CONTRIBUTING and the pages of docs/ as the tests see them: blocks of code, links, headings."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
]
FENCE = re.compile(r"^( *)```(\w*)\s*$")
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A block of code; `excepted` says why it is not run, and is empty if it is."""

    page: str
    line: int
    language: str
    code: str
    excepted: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


class Link(NamedTuple):
    page: str
    line: int
    is_picture: bool
    text: str
    target: str


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str, page: str) -> list[Block]:
    """The fenced blocks, without the indentation that they have in a list.

    Raises:
        ValueError: a block has no language, or does not end.
    """
    found: list[Block] = []
    code: list[str] | None = None
    indent, language, start, excepted, last = "", "", 0, "", ""
    for number, line in enumerate(text.splitlines(), start=1):
        fence = FENCE.match(line)
        if fence and code is None:
            (indent, language), start, code = fence.groups(), number, []
            if not language:
                raise ValueError(f"{page}:{number}: got a block without a language, wanted bash, python, text, ...")
            match = NOT_RUN.search(last)
            excepted = match[1] if match else ""
        elif fence and code is not None:
            found.append(Block(page, start, language, "\n".join(code) + "\n", excepted))
            code = None
        elif code is not None:
            code.append(line.removeprefix(indent))
        if line.strip():
            last = line
    if code is not None:
        raise ValueError(f"{page}:{start}: got a block that does not end")
    return found


def prose(text: str) -> list[str]:
    """The lines, those of blocks empty."""
    lines, inside = [], False
    for line in text.splitlines():
        fence = bool(FENCE.match(line))
        lines.append("" if inside or fence else line)
        inside ^= fence
    return lines


def links(text: str, page: str) -> list[Link]:
    """Links and pictures, without those in code."""
    return [
        Link(page, number, bool(sign), words, target)
        for number, line in enumerate(prose(text), start=1)
        for sign, words, target in LINK.findall(re.sub(r"`[^`]*`", "`", line))
    ]


def anchors(text: str) -> set[str]:
    """The headings' anchors, of those that GitHub and MkDocs make alike."""
    found = set()
    for line in prose(text):
        if match := re.match(r"#+ (.+)", line):
            words = re.sub(r"[^\w\s-]", "", match[1].replace("`", "")).strip().lower()
            if (github := re.sub(r"\s", "-", words)) == re.sub(r"[-\s]+", "-", words):
                found.add(github)
    return found


def inline_code(text: str) -> list[str]:
    return [code for line in prose(text) for code in re.findall(r"`([^`]+)`", line)]
