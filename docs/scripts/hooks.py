"""What MkDocs does not do by itself: formulas as MathML, and links from a page to files outside of docs/."""

import importlib.util
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = re.compile(r"(!?\[[^\]]*\]\()\.\./([^)\s]+)\)")


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
        for before, path in OUTSIDE.findall(Path(page.abs_src_path).read_text(encoding="utf-8")):
            if before.startswith("!") and not files.get_file_from_path(name := f"outside/{Path(path).name}"):
                files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links that leave docs/ lead to the repository."""
    depth = "../" * page.file.src_uri.count("/")
    repository = f"{_setup().metadata()['url']}/blob/main"

    def inside(match):
        before, path = match.groups()
        target = f"{depth}outside/{Path(path).name}" if before.startswith("!") else f"{repository}/{path}"
        return f"{before}{target})"

    return OUTSIDE.sub(inside, markdown)


def _setup():
    """setup.py, which knows the repository's address."""
    spec = importlib.util.spec_from_file_location("nnunet_mamba_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
