"""Synapse from trees in its layout: organs, the papers' test scans, geometry, and each bad input."""

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_mamba.dataset_conversion.synapse import TEST_SCANS, convert

NUMBERS = (1, 2, 5, 6, 7, 9, 10, 38)  # three of the papers' test scans
SPACING = (0.8, 0.7, 3.0)


def write(path, values, spacing=SPACING):
    volume = sitk.GetImageFromArray(values)
    volume.SetSpacing(spacing)
    volume.SetOrigin((-10.0, 5.0, 100.0))
    sitk.WriteImage(volume, str(path))


@pytest.fixture
def source(tmp_path):
    training = tmp_path / "source" / "Abdomen" / "RawData" / "Training"
    for name in ("img", "label"):
        (training / name).mkdir(parents=True)
    for number in NUMBERS:
        random = np.random.default_rng(number)
        write(training / "img" / f"img{number:04}.nii.gz", random.integers(-1000, 1000, (4, 12, 14)).astype(np.int16))
        labels = np.zeros((4, 12, 14), np.uint8)
        labels[:, :13, :] = 0
        labels[1, 0, :14] = np.arange(14)  # every organ
        write(training / "label" / f"label{number:04}.nii.gz", labels)
    (tmp_path / "source" / "Abdomen" / "RawData" / "Testing" / "img").mkdir(parents=True)
    return tmp_path / "source"


def labels_of(folder, part, number):
    return sitk.ReadImage(str(folder / f"labels{part}" / f"Synapse_{number:04}.nii.gz"))


@pytest.mark.parametrize(
    ("organs", "wanted"), [(8, [0, 1, 2, 3, 4, 0, 5, 6, 7, 0, 0, 8, 0, 0]), (13, list(range(14)))]
)
def test_organs_are_numbered_from_one(source, organs, wanted):
    folder = convert(source, 507, organs=organs)
    volume = labels_of(folder, "Tr", 5)
    assert sitk.GetArrayFromImage(volume)[1, 0].tolist() == wanted
    assert volume.GetSpacing() == pytest.approx(SPACING) and volume.GetOrigin() == pytest.approx((-10, 5, 100))
    description = json.loads((folder / "dataset.json").read_text())
    assert len(description["labels"]) == organs + 1 and description["channel_names"] == {"0": "CT"}
    assert description["labels"]["aorta"] == 8 - (organs == 8) and description["file_ending"] == ".nii.gz"


def test_the_papers_test_scans_are_apart(source):
    folder = convert(source, 507)
    assert sorted(path.name[8:12] for path in (folder / "labelsTs").iterdir()) == ["0001", "0002", "0038"]
    folds = json.loads((folder / "splits_final.json").read_text())
    assert {case for fold in folds for case in fold["val"]} == {f"Synapse_{n:04}" for n in NUMBERS if n not in TEST_SCANS}


def test_the_papers_protocol_validates_on_them_in_fold_0(source):
    folder = convert(source, 507, protocol="paper")
    assert not (folder / "labelsTs").exists()
    assert json.loads((folder / "splits_final.json").read_text())[0]["val"] == ["Synapse_0001", "Synapse_0002", "Synapse_0038"]


def test_again_gives_the_same_bytes(source, nnunet):
    first = convert(source, 507)
    kept = {path.relative_to(first): path.read_bytes() for path in first.rglob("*") if path.is_file()}
    shutil.rmtree(first)
    shutil.rmtree(nnunet.preprocessed / first.name)
    again = convert(source, 507)
    assert {path.relative_to(again): path.read_bytes() for path in again.rglob("*") if path.is_file()} == kept


def training(source):
    return source / "Abdomen" / "RawData" / "Training"


def drop_label(source):
    (training(source) / "label" / "label0005.nii.gz").unlink()


def drop_scan(source):
    (training(source) / "img" / "img0005.nii.gz").unlink()


def truncate(source):
    path = training(source) / "img" / "img0005.nii.gz"
    path.write_bytes(path.read_bytes()[:300])


def other_spacing(source):
    write(training(source) / "label" / "label0005.nii.gz", np.zeros((4, 12, 14), np.uint8), (1.0, 0.7, 3.0))


def other_size(source):
    write(training(source) / "label" / "label0005.nii.gz", np.zeros((4, 12, 13), np.uint8))


def unknown_organ(source):
    write(training(source) / "label" / "label0005.nii.gz", np.full((4, 12, 14), 14, np.uint8))


def other_layout(source):
    training(source).rename(source / "elsewhere")
    (source / "elsewhere" / "label").rename(source / "elsewhere" / "masks")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop_label, r"img0005\.nii\.gz: a scan without labels"),
        (drop_scan, r"label0005\.nii\.gz: labels without a scan"),
        (truncate, r"img0005\.nii\.gz: cannot be read as NIfTI"),
        (other_spacing, r"label0005\.nii\.gz: the mask has spacing 1 0\.7 3 \(x, y, z\), its image 0\.8 0\.7 3"),
        (other_size, r"label0005\.nii\.gz: the mask has 4x12x13 pixels"),
        (unknown_organ, r"label0005\.nii\.gz: holds the values \[14\.0\]; expected 0 to 13"),
        (other_layout, "not the layout of Synapse; expected RawData/Training/.*, found Abdomen, elsewhere"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(source, nnunet, spoil, message):
    spoil(source)
    before = nnunet.content()
    with pytest.raises(ValueError, match=message):
        convert(source, 507)
    assert nnunet.content() == before
