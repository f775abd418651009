"""What MkDocs does not do by itself: formulas as MathML, and links from a page to files outside of docs/."""

import importlib.util
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"`[^`\n]+`")
LINK = re.compile(r"(?P<before>(?P<picture>!?)\[[^\]]*\]\()(?P<target>\.\./[^)\s]+)\)")


def on_config(config):
    """A block ```math``` holds LaTeX: GitHub draws it as it is, and here it becomes MathML, which needs no script."""
    from latex2mathml.converter import convert

    def formula(source, language, css_class, options, md, **kwargs):
        return f'<div class="formula">{convert(source, display="block")}</div>'

    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "formula", "format": formula})
    return config


def on_files(files, config):
    """Pictures outside of docs/ that pages show, such as those of benchmarks/results, become files of the site."""
    for page in [file for file in files if file.src_uri.endswith(".md")]:
        for match, path in _leaving(Path(page.abs_src_path).read_text(encoding="utf-8"), page.src_uri):
            if match["picture"] and not files.get_file_from_path(_inside(path)):
                files.append(File.generated(config, _inside(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links that leave docs/ lead to the repository. A bar in code in a table is escaped for GitHub only."""
    markdown = CODE.sub(lambda code: code[0].replace("\\|", "|"), markdown)
    repository = f"{_setup().metadata()['url']}/blob/main"
    up = "../" * page.file.src_uri.count("/")
    for match, path in _leaving(markdown, page.file.src_uri):
        target = up + _inside(path) if match["picture"] else f"{repository}/{path}"
        markdown = markdown.replace(match[0], f"{match['before']}{target})")
    return markdown


def _leaving(markdown: str, page: str) -> Iterator[tuple[re.Match, str]]:
    """Each link of `page` out of docs/, and its path in the repository."""
    for match in LINK.finditer(markdown):
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), match["target"]))
        if not path.startswith("docs/"):
            yield match, path


def _inside(path: str) -> str:
    """Where the site has a picture from outside of docs/."""
    return f"outside/{posixpath.basename(path)}"


def _setup():
    """setup.py, which knows the repository's address."""
    spec = importlib.util.spec_from_file_location("nnunet_mamba_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
