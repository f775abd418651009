"""README, CONTRIBUTING and the pages: their code runs, their links lead somewhere, what is generated is up to date."""

import os
import re
import shutil
from collections import Counter
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.command_lines import Wrong, check_lines, check_mention
from helpers.pages import PAGES, ROOT, anchors, blocks, inline_code, links, text_of

BLOCKS = [block for page in PAGES for block in blocks(text_of(page), page)]
LANGUAGES = {"bash", "python", "math", "bibtex", "text"}
# a name and the shape that a comment gives it: `logits = ...  # (1, 2, 64, 96)`
SHAPE = re.compile(r"^(\w+(?:, \w+)*) = .*#[^(]*\((\d+(?:, \d+)+)\)", re.MULTILINE)


def of(language):
    chosen = [block for block in BLOCKS if block.language == language and not block.excepted]
    return pytest.mark.parametrize("block", chosen, ids=str)


def load(name, file):
    spec = spec_from_file_location(name, file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def setup():
    return load("nnunet_mamba_setup", ROOT / "setup.py")


def test_every_block_is_run_or_excepted(record_property):
    for block in BLOCKS:
        assert block.language in LANGUAGES, f"{block}: got the language {block.language}, wanted one of {LANGUAGES}"
        assert block.language != "text" or block.excepted, f"{block}: say why it is not run: <!-- not run: why -->"
    count = Counter("not run" if block.excepted else block.language for block in BLOCKS)
    record_property("blocks", dict(count))
    assert count["bash"] > 30 and count["python"] > 10 and count["math"] > 5
    assert count["not run"] <= 0.1 * len(BLOCKS)


@of("bash")
def test_command_lines_parse(block):
    assert check_lines(block.code) > 0


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_sentences_exist(page):
    for code in inline_code(text_of(page)):
        if re.match(r"nnunet_mamba \S|nnUNetv2_\w+", code):
            check_mention(code)


def write_demo():
    """What `nnunet_mamba demo` leaves: a model, here with the weights that it began with, and an image."""
    from helpers.model_folders import RGB, write_model

    folder = Path("nnunet_mamba_demo/nnUNet_results/Dataset501_PH2")
    model = write_model(Path("made"), "DAMambaTrainer", RGB, {"background": 0, "lesion": 1}, "NaturalImage2DIO")
    shutil.copytree(model, folder / "DAMambaTrainer_demo__nnUNetPlans__2d")
    images = Path("nnunet_mamba_demo/nnUNet_raw/Dataset501_PH2/imagesTs")
    images.mkdir(parents=True)
    Image.fromarray(np.random.randint(0, 255, (32, 48, 3), dtype=np.uint8)).save(images / "IMD002_0000.png")


def write_predictions():
    Path("pred").mkdir()
    Image.fromarray(np.eye(8, dtype=np.uint8)).save("pred/IMD003.png")


def write_images_and_masks():
    for number in range(12):
        pixels = np.random.randint(0, 255, (24, 32), dtype=np.uint8)
        for folder, array in (("images", pixels), ("masks", 255 * (pixels > 128).astype(np.uint8))):
            Path(folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(Path(folder, f"{number}.png"))


def write_exported():
    import torch

    from nnunet_mamba.export.onnx_file import write_onnx
    from nnunet_mamba.export.torch_file import write_torch

    network, images = torch.nn.Conv2d(3, 2, 1), torch.zeros(2, 3, 8, 8)
    for write, file in ((write_onnx, "model.onnx"), (write_torch, "model.pt2")):
        write(network, images, {"nnunet_mamba": "{}"}, Path(file))


STAND_INS = {
    "docs/export.md": write_exported,
    "docs/predict.md": write_demo,
    "docs/tour.md": write_predictions,
    "docs/your_images.md": write_images_and_masks,
}


@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS if block.language == "python"}))
def test_python_blocks_run(page, tmp_path, monkeypatch):
    """In order, in one namespace; and the shapes that their comments give are right."""
    monkeypatch.chdir(tmp_path)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        Path(name).mkdir()
        monkeypatch.setitem(os.environ, name, str(tmp_path / name))
    STAND_INS.get(page, lambda: None)()
    namespace: dict = {"__name__": "page"}
    for block in [block for block in BLOCKS if block.page == page and block.language == "python"]:
        if block.excepted:
            continue
        exec(compile("\n" * block.line + block.code, page, "exec"), namespace)
        for names, shape in SHAPE.findall(block.code):
            for name in names.split(", "):
                assert str(tuple(namespace[name].shape)) == f"({shape})", f"{block}: {name}"


@of("math")
def test_formulas_can_be_drawn(block):
    if not find_spec("latex2mathml"):
        pytest.skip("latex2mathml is not installed: pip install -e '.[docs]'")
    from latex2mathml.converter import convert

    drawn = convert(block.code)
    assert "<mi>" in drawn and "\\" not in drawn


@of("bibtex")
def test_bibtex_says_what_citation_cff_says(block):
    citation = " ".join((ROOT / "CITATION.cff").read_text(encoding="utf-8").split())
    entries = block.code.strip().splitlines()
    assert len(entries) == citation.count(" title: ") + citation.count("cff-version") - 1
    for entry in entries:
        fields = dict(re.findall(r"(\w+)=\{+([^{}]*)\}", entry))
        assert entry.count("{") == entry.count("}") and fields["title"] in citation
        for name in ("year", "journal", "volume", "version", "doi"):
            assert fields.get(name, "") in citation, entry


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere_and_pictures_have_a_text(page):
    for link in links(text_of(page), page):
        at = f"{page}:{link.line}: {link.target}"
        assert not link.is_picture or len(link.text) > 20, f"{at}: say what the picture shows"
        if re.match(r"\w+:", link.target):
            assert link.target.startswith("https://"), at
            continue
        path, _, anchor = link.target.partition("#")
        target = ROOT / Path(page).parent / path if path else ROOT / page
        assert target.exists(), at
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), at


def test_the_site_has_every_page():
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r"^ +- .+: (\S+\.md)$", config, re.MULTILINE)
    assert sorted(named) == sorted(page.removeprefix("docs/") for page in PAGES if page.startswith("docs/"))


def test_what_is_generated_is_up_to_date(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "scripts"))
    commands, figures = (load(name, ROOT / "docs" / "scripts" / f"{name}.py") for name in ("commands", "figures"))
    assert commands.page() == text_of("docs/commands.md"), "run: python docs/scripts/commands.py"
    drawn = figures.figures()
    assert drawn.keys() == {path.name for path in (ROOT / "docs" / "figures").iterdir()}
    for name, svg in drawn.items():
        assert svg == text_of(f"docs/figures/{name}"), "run: python docs/scripts/figures.py"


def test_readme_is_for_a_newcomer():
    assert len(text_of("README.md").splitlines()) < 90


def test_the_package_page_needs_no_files_beside_it(setup):
    page = setup.long_description()
    assert not [link for link in links(page, "README.md") if not re.match("https://|#", link.target)]
    url, version = setup.metadata()["url"], setup.metadata()["version"]
    assert f"]({url}/raw/v{version}/docs/demo_overlay.png)" in page
    assert f"]({url}/blob/v{version}/docs/install.md)" in page


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("[a](b.md)", "[a](https://u.v/w/blob/v1/b.md)"),
        ("[a](b.md#c) ![d e](f/g.png)", "[a](https://u.v/w/blob/v1/b.md#c) ![d e](https://u.v/w/raw/v1/f/g.png)"),
        ("[![a](b.png)](c.md)", "[![a](https://u.v/w/raw/v1/b.png)](https://u.v/w/blob/v1/c.md)"),
        ("[a](https://b.c/d) [e](#f)", "[a](https://b.c/d) [e](#f)"),
    ],
)
def test_whole_addresses(text, wanted, setup):
    assert setup.with_whole_addresses(text, "https://u.v/w", "v1") == wanted


def test_the_version_is_the_same_everywhere(setup):
    import nnunet_mamba

    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    in_bibtex = re.search(r"version=\{(.+?)\}", text_of("README.md"))
    assert {setup.metadata()["version"], citation[1], in_bibtex[1]} == {nnunet_mamba.__version__}


@pytest.mark.parametrize(
    "line, message",
    [
        ("nnunet_mamba plan --ram 4", "required: -d"),
        ("nnunet_mamba convert PH2 -i x -d 1 --border", "unrecognized arguments: --border"),
        ("nnUNetv2_train 501 2d 0 --tr X", "unrecognized arguments: --tr X"),
        ("cd x && python benchmarks/on_gpu.py --hours 9", "there is no --hours"),
        ("make doc", "there is no doc"),
        ("pip install 'nnunet-mamba[reports]'", "there is no reports"),
        ("pytest tests/nothing", "there is no tests/nothing"),
        ("nnunet-mamba plan -d 501", "unknown command"),
    ],
)
def test_a_wrong_line_is_found(line, message):
    with pytest.raises(Wrong, match=message):
        check_lines(line)


def test_a_wrong_mention_is_found():
    check_mention("nnunet_mamba plan -d ID --gpu-memory 8")
    with pytest.raises(Wrong, match="predict has no option --folds"):
        check_mention("nnunet_mamba predict ... --folds 0")


@pytest.mark.parametrize("text", ["```\nmake\n```\n", "```bash\nmake\n"])
def test_a_block_without_language_or_end_is_found(text):
    with pytest.raises(ValueError, match=r"page:1: got a block"):
        blocks(text, "page")
