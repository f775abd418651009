"""PH2 from its official layout to a data set that nnU-Net accepts."""

import json
import multiprocessing.dummy
import os
import shutil
import subprocess
import sys
import zipfile
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from helpers import dataset_trees as trees
from nnunet_mamba import dataset_conversion
from nnunet_mamba.dataset_conversion.formats.images import read_binary_mask

convert = partial(dataset_conversion.convert, "PH2")
REAL = Path(__file__).parents[3] / "shared" / "data"


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_what_is_written(tree, images, nnunet):
    ids = sorted(p.name for p in images.glob("IMD*"))
    folder = convert(tree, 501, test=2)
    assert folder == nnunet.raw / "Dataset501_PH2"
    assert [p.name for p in nnunet.raw.iterdir()] == ["Dataset501_PH2"]
    names = {
        part: sorted(p.name for p in (folder / part).iterdir())
        for part in ("imagesTr", "labelsTr", "imagesTs", "labelsTs")
    }
    training = [name.removesuffix(".png") for name in names["labelsTr"]]
    test = [name.removesuffix(".png") for name in names["labelsTs"]]
    assert sorted(training + test) == ids and len(test) == 2
    assert names["imagesTr"] == [f"{id}_0000.png" for id in training]
    assert names["imagesTs"] == [f"{id}_0000.png" for id in test]
    for id in ids:
        part = "Tr" if id in training else "Ts"
        source = np.asarray(Image.open(images / id / f"{id}_Dermoscopic_Image" / f"{id}.bmp"))
        mask = np.asarray(Image.open(images / id / f"{id}_lesion" / f"{id}_lesion.bmp").convert("L")) > 0
        image = Image.open(folder / f"images{part}" / f"{id}_0000.png")
        label = Image.open(folder / f"labels{part}" / f"{id}.png")
        assert (image.mode, label.mode) == ("RGB", "L")
        np.testing.assert_array_equal(np.asarray(image), source)
        np.testing.assert_array_equal(np.asarray(label), mask.astype(np.uint8))

    dataset = load(folder / "dataset.json")
    assert dataset["numTraining"] == 5
    assert dataset["channel_names"] == {"0": "R", "1": "G", "2": "B"}
    assert dataset["labels"] == {"background": 0, "lesion": 1}
    assert dataset["file_ending"] == ".png"
    assert dataset["overwrite_image_reader_writer"] == "NaturalImage2DIO"
    assert {"licence", "reference", "release", "converted_by"} <= dataset.keys()

    folds = load(folder / "splits_final.json")
    assert len(folds) == 5
    assert sorted(id for fold in folds for id in fold["val"]) == training
    assert all(sorted(fold["train"] + fold["val"]) == training for fold in folds)
    assert load(nnunet.preprocessed / "Dataset501_PH2" / "splits_final.json") == folds

    report = load(folder / "conversion_report.json")
    assert report["cases"] == {"training": 5, "test": 2, "skipped": 0}
    assert report["written_sizes"] == {"24x32": 2, "24x33": 1, "25x32": 1, "25x33": 1, "26x32": 1, "26x33": 1}
    assert Image.open(folder / "contact_sheet.png").size == (1120, 456)


@pytest.mark.parametrize("place", ["PH2Dataset", "PH2Dataset/PH2 Dataset images", "."])
def test_every_level_of_the_tree_is_accepted(tree, place):
    assert len(list((convert(tree.parent / place, 501) / "labelsTr").iterdir())) == 7


def test_rerun_zip_and_processes_give_the_same_bytes(tree, nnunet, tmp_path):
    with zipfile.ZipFile(tmp_path / "PH2Dataset.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(tree.rglob("*"), reverse=True):
            archive.write(path, path.relative_to(tree.parent))
        archive.writestr("__MACOSX/PH2Dataset/PH2 Dataset images/IMD003/IMD003_lesion/._IMD003_lesion.bmp", b"junk")
    first = bytes_below(convert(tree, 501, size=(16, 20), test=2, seed=3))
    again = bytes_below(convert(tree / "PH2 Dataset images", 502, size=(16, 20), test=2, seed=3, processes=2))
    from_zip = bytes_below(convert(tmp_path / "PH2Dataset.zip", 503, size=(16, 20), test=2, seed=3))
    assert first.keys() == again.keys() == from_zip.keys()
    assert [name for name in first if not first[name] == again[name] == from_zip[name]] == []
    assert sorted(p.name for p in nnunet.raw.iterdir()) == ["Dataset501_PH2", "Dataset502_PH2", "Dataset503_PH2"]


def test_full_and_nearly_full_lesions_and_empty_masks_are_kept(images):
    for id, rows in (("IMD900", 24), ("IMD901", 23), ("IMD902", 0)):
        _, mask = trees.ph2_case(images, id)
        pixels = np.zeros((24, 32), np.uint8)
        pixels[:rows] = 255
        Image.fromarray(pixels).convert("1").save(mask)
    folder = convert(images, 501)
    shares = {case["case"]: case["foreground"] for case in load(folder / "conversion_report.json")["written"]}
    assert (shares["IMD900"], shares["IMD901"], shares["IMD902"]) == (1.0, 0.958333, 0.0)
    assert load(folder / "conversion_report.json")["empty_masks"] == ["IMD902"]
    assert np.asarray(Image.open(folder / "labelsTr" / "IMD900.png")).min() == 1


@pytest.mark.parametrize("kind", ["1", "RGB", "red", "palette", "zero_one", "anti_aliased", "jpeg_noise"])
def test_masks_of_every_kind_are_the_same_lesion(tmp_path, kind):
    mask = np.zeros((20, 20), np.uint8)
    mask[8:10, 8:10] = 255
    image = Image.fromarray(mask)
    if kind == "red":
        image = Image.fromarray(np.stack([mask, 0 * mask, 0 * mask], axis=2))
    elif kind == "palette":
        image = image.convert("P")
    elif kind == "zero_one":
        image = Image.fromarray(mask // 255)
    elif kind == "anti_aliased":
        mask[7, 7:11] = 100
        image = Image.fromarray(mask)
    elif kind == "jpeg_noise":
        image = Image.fromarray(np.where(mask > 0, 249, 6 * (np.arange(400).reshape(20, 20) % 2)).astype(np.uint8))
    else:
        image = image.convert(kind)
    image.save(tmp_path / "mask.png")
    labels = read_binary_mask(tmp_path / "mask.png")
    assert labels.dtype == np.uint8 and set(np.unique(labels)) == {0, 1}
    assert labels[8:10, 8:10].sum() == labels.sum() == 4


def test_paper_protocol_on_many_cases(tmp_path):
    root = tmp_path / "many" / "PH2 Dataset images"
    for i in range(70):
        trees.ph2_case(root, f"IMD{3 * i:03d}", size=(6, 8))
    folder = convert(root, 501, protocol="paper")
    folds = load(folder / "splits_final.json")
    assert [len(fold["val"]) for fold in folds] == [30, 10, 10, 10, 10]
    assert len({id for fold in folds for id in fold["val"]}) == 70
    assert load(folder / "conversion_report.json")["written_sizes"] == {"192x256": 70}
    assert set(folds[0]["train"]).isdisjoint(folds[0]["val"])


def test_without_nnunet_preprocessed_the_folds_wait_in_raw(tree, monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_preprocessed")
    folder = convert(tree, 501)
    assert (folder / "splits_final.json").is_file()
    assert "nnUNet_preprocessed is not set" in capsys.readouterr().out


def test_nnunet_folders_are_made_when_missing(tree, nnunet):
    shutil.rmtree(nnunet.raw.parent)
    assert convert(tree, 7).name == "Dataset007_PH2"


def test_summary_and_next_command(tree, capsys):
    convert(tree, 501, test=2)
    out = capsys.readouterr().out
    assert "7 (5 training, 2 test)" in out
    assert "foreground      min " in out
    assert "nnUNetv2_plan_and_preprocess -d 501 -c 2d --verify_dataset_integrity" in out


def test_skip_bad_lists_what_it_leaves_out(images, capsys):
    trees.ph2_case(images, "IMD800", mask_size=(24, 30))
    image, _ = trees.ph2_case(images, "IMD801")
    image.write_bytes(image.read_bytes()[:300])
    shutil.rmtree(images / "IMD009" / "IMD009_lesion")
    folder = convert(images, 501, skip_bad=True)
    skipped = load(folder / "conversion_report.json")["skipped"]
    assert [case["case"] for case in skipped] == ["IMD009", "IMD800", "IMD801"]
    assert skipped[0]["reason"].startswith(os.path.join("IMD009", "IMD009_Dermoscopic_Image", "IMD009.bmp"))
    out = capsys.readouterr().out
    assert all(case["reason"] in out for case in skipped)
    assert len(list((folder / "labelsTr").iterdir())) == 7 - 1


def test_python_m(tree, nnunet):
    command = [sys.executable, "-m", "nnunet_mamba.dataset_conversion", "PH2", "-i", str(tree), "-np", "2", "-d"]
    done = subprocess.run([*command, "501", "--size", "16", "20"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "writing Tr" in done.stderr
    failed = subprocess.run([*command, "501"], capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr.startswith("python -m nnunet_mamba.dataset_conversion: error: -d 501 is in use")
    assert failed.stderr.count("\n") == 1


def test_no_torch_is_imported():
    imports = "import sys, nnunet_mamba.cli.convert, nnunet_mamba.dataset_conversion.ph2"
    code = f"{imports}; print({{'torch', 'nnunetv2'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_nnunet_accepts_it_and_keeps_the_folds(tree, nnunet, monkeypatch):
    planning = pytest.importorskip("nnunetv2.experiment_planning.experiment_planners.default_experiment_planner")
    integrity = import_module("nnunetv2.experiment_planning.verify_dataset_integrity")
    # Threads for its processes: each spawned one would import torch again.
    threads = SimpleNamespace(get_context=lambda method: multiprocessing.dummy)
    monkeypatch.setattr(integrity, "multiprocessing", threads)
    monkeypatch.setattr("nnunetv2.utilities.utils.Pool", multiprocessing.dummy.Pool)

    folder = convert(tree, 501, test=1)
    integrity.verify_dataset_integrity(str(folder), num_processes=1)
    (nnunet.preprocessed / folder.name / "dataset_fingerprint.json").write_text("{}")
    before = (nnunet.preprocessed / folder.name / "splits_final.json").read_bytes()
    planning.ExperimentPlanner(501)
    assert (nnunet.preprocessed / folder.name / "splits_final.json").read_bytes() == before


@pytest.mark.parametrize("name", ["PH2Dataset", "PH2Dataset_256x192"])
def test_real_cases(name, nnunet):
    if not (REAL / name).is_dir():
        pytest.skip("no real PH2 cases beside the repository")
    folder = convert(REAL / name, 501, size=(96, 128), test=1)
    report = load(folder / "conversion_report.json")
    assert report["cases"]["skipped"] == 0 and report["empty_masks"] == []
    assert list(report["written_sizes"]) == ["96x128"]
    assert 0.01 < report["foreground"]["min"] <= report["foreground"]["max"] < 1
    # A lesion is darker than the skin around it: were images and masks mismatched, this would not hold for nine in ten.
    darker = []
    for label in sorted((folder / "labelsTr").iterdir()):
        mask = np.asarray(Image.open(label)) > 0
        image = np.asarray(Image.open(folder / "imagesTr" / f"{label.stem}_0000.png"))[24:72, 32:96, 2].astype(float)
        mask = mask[24:72, 32:96]
        if 0.1 < mask.mean() < 0.9:
            darker.append(image[mask].mean() < image[~mask].mean())
    assert np.mean(darker) > 0.9
