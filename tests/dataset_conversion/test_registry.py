"""The data sets: found by their files, described once, and one new file is enough for a new one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from helpers import dataset_trees as trees
from helpers.own_package import copy_with_dataset
from nnunet_mamba import dataset_conversion
from nnunet_mamba.cli.main import main
from nnunet_mamba.dataset_conversion.pipeline.registry import all_datasets, find_dataset, markdown_table

PAGE = Path(__file__).parents[2] / "docs" / "data_sets.md"
NAMES = [
    *("ChestXray", "CVC-ClinicDB", "DSB2018", "generic", "ISIC2017", "ISIC2018"),
    *("Kvasir-SEG", "PH2", "Sunnybrook", "Synapse"),
]
TOY = '''"""Toy: squares."""

from dataclasses import replace

from nnunet_mamba.dataset_conversion.dataset import Case, Dataset, Option
from nnunet_mamba.dataset_conversion.formats.folders import by_id, list_files, pair_up


def find_cases(folder):
    pairs, bad = pair_up(by_id(list_files(folder / "images")), by_id(list_files(folder / "masks")))
    return [Case(id, id, *pair) for id, pair in pairs.items()], bad


def with_label(dataset, label_name):
    return replace(dataset, labels={"background": 0, label_name: 1})


TOY = Dataset(
    name="Toy-Set",
    what="squares",
    segments="square",
    never_split="image",
    labels={"background": 0, "square": 1},
    description="Squares",
    reference="none",
    licence="none",
    release="none",
    find_cases=find_cases,
    options=(Option("--label-name", "of the square", default="square"),),
    with_options=with_label,
)
'''


def test_the_names():
    assert list(all_datasets()) == NAMES


@pytest.mark.parametrize("name", ["PH2", "ph2", "kvasir_seg", "KvasirSEG", "cvc-clinicdb", "isic2018"])
def test_names_in_any_spelling(name):
    assert re.sub("[-_]", "", find_dataset(name).name.lower()) == re.sub("[-_]", "", name.lower())


def test_an_unknown_name(capsys):
    with pytest.raises(ValueError, match=r"unknown data set 'PH3'; known: ChestXray, .*PH2"):
        find_dataset("PH3")
    assert main(["convert", "PH3"]) == 1
    assert "unknown data set 'PH3'" in capsys.readouterr().err


def help_of(argv, capsys) -> str:
    with pytest.raises(SystemExit):
        main(["convert", *argv, "--help"])
    return " ".join(capsys.readouterr().out.split())


def test_help_lists_the_names(capsys):
    assert "one of: " + ", ".join(NAMES) in help_of([], capsys)


@pytest.mark.parametrize("name", NAMES)
def test_help_lists_the_options(name, capsys):
    text = help_of([name], capsys)
    own = [f"{option.flag} {option.metavar}".strip() for option in all_datasets()[name].options]
    sources = ["--images DIR", "--masks DIR"] if name == "generic" else ["-i SRC"]
    shared = [
        "-d ID",
        "--size H W",
        "--test N",
        "--seed SEED",
        "--protocol {paper}",
        "-np P",
        "--skip-bad",
        "--overwrite",
    ]
    assert all(option in text for option in [*sources, *shared, *own])


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("Sunnybrook", {"target": "rv"}, "--target takes endo or epi or both, got 'rv'"),
        ("Sunnybrook", {"kind": "4d"}, "--as takes slices or stacks, got '4d'"),
        ("Synapse", {"organs": 9}, "--organs takes 8 or 13, got 9"),
        ("PH2", {"border": True}, "PH2 has no option 'border'; its own options: none"),
        ("Sunnybrook", {"organs": 8}, "has no option 'organs'; its own options: target, kind, official_test"),
    ],
)
def test_a_wrong_option(name, options, message, nnunet):
    with pytest.raises(ValueError, match=message):
        dataset_conversion.convert(name, "source", 501, **options)
    assert nnunet.content() == []


@pytest.mark.parametrize(
    "argv, message",
    [
        (["Sunnybrook", "-i", "x", "-d", "1", "--target", "rv"], "--target takes endo or epi or both, got 'rv'"),
        (["Synapse", "-i", "x", "-d", "1", "--organs", "9"], "--organs takes 8 or 13, got 9"),
        (["Synapse", "-i", "x", "-d", "1", "--sides"], "unrecognized arguments: --sides"),
        (["generic", "--masks", "x", "-d", "1"], "the following arguments are required: -i/--images"),
    ],
)
def test_a_wrong_option_on_the_command_line(argv, message, capsys):
    with pytest.raises(SystemExit) as error:
        main(["convert", *argv])
    assert error.value.code == 2 and message in capsys.readouterr().err


def test_the_number_of_sources(tmp_path):
    with pytest.raises(ValueError, match=r"generic takes 1 or 2 folders or zips \(--images, --masks\), got 3"):
        dataset_conversion.convert("generic", [tmp_path] * 3, 501)
    with pytest.raises(ValueError, match=r"PH2 takes 1 folders or zips \(-i\), got 2"):
        dataset_conversion.convert("PH2", [tmp_path] * 2, 501)


def test_options_of_every_kind_on_the_command_line(tmp_path, nnunet):
    source = trees.btcv(tmp_path)
    assert (
        main(["convert", "synapse", "-i", str(source), "-d", "9", "-np", "1", "--organs", "13", "--size", "12", "20"])
        == 0
    )
    pair = trees.folder_pair(tmp_path)
    argv = ["-i", str(pair / "images"), "--masks", str(pair / "masks"), "--name", "Pair", "--group-regex", "^P."]
    assert main(["convert", "generic", "-d", "10", "-np", "1", "--skip-bad", *argv]) == 0
    assert sorted(path.name for path in nnunet.raw.iterdir()) == ["Dataset009_Synapse", "Dataset010_Pair"]
    label = sitk.ReadImage(str(nnunet.raw / "Dataset009_Synapse" / "labelsTr" / "img0005.nii.gz"))
    assert label.GetSize() == (20, 12, 4) and sitk.GetArrayFromImage(label).max() == 13


def test_the_page_has_the_table():
    assert markdown_table() in PAGE.read_text(encoding="utf-8")


def test_a_new_data_set_is_one_file(tmp_path, nnunet):
    """In a copy of the package: the command line finds it, and worker processes import it."""
    copy_with_dataset(tmp_path, "toy", TOY)

    def run(code: str, *argv: str) -> str:
        command = [sys.executable, "-c", f"import sys; {code}", *argv]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    cli = "from nnunet_mamba.cli.main import main; sys.exit(main(['convert', *sys.argv[1:]]))"
    assert "Toy-Set" in run(cli, "--help") and "--label-name NAME" in run(cli, "toyset", "--help")
    registry = "from nnunet_mamba.dataset_conversion.pipeline import registry; print(registry.markdown_table())"
    assert "| `Toy-Set` | squares | square | image | `--label-name NAME` |" in run(registry)
    for i in range(3):
        trees.write_image(tmp_path / "squares" / "images" / f"{i}.png", i)
        trees.write_mask(tmp_path / "squares" / "masks" / f"{i}.png", trees.box(i))
    run(cli, "Toy-Set", "-i", "squares", "-d", "11", "-np", "2", "--label-name", "box")
    folder = nnunet.raw / "Dataset011_Toy-Set"
    assert json.loads((folder / "dataset.json").read_text())["labels"] == {"background": 0, "box": 1}
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "labelsTr" / "2.png")), trees.box(2))
