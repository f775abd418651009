"""Synapse: organs renumbered, geometry kept, the papers' split in both ways."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import dataset_trees as trees
from nnunet_mamba import dataset_conversion
from nnunet_mamba.dataset_conversion.synapse import EIGHT, ORGANS, TEST_SCANS

convert = partial(dataset_conversion.convert, "Synapse")


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "organs, original",
    [(8, (1, 2, 3, 4, 6, 7, 8, 11)), (13, tuple(range(1, 14)))],
)
def test_organs_are_renumbered(tmp_path, organs, original):
    source = trees.btcv(tmp_path)
    folder = convert(source, 509, organs=organs)
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(source / "RawData" / "Training" / "label" / "label0005.nii.gz")))
    expected = np.zeros_like(stored)
    for i, value in enumerate(original, start=1):
        expected[stored == value] = i
    labels = sitk.ReadImage(str(folder / "labelsTr" / "img0005.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(labels), expected)
    assert labels.GetPixelIDTypeAsString() == "8-bit unsigned integer"
    content = load(folder / "dataset.json")
    chosen = EIGHT if organs == 8 else tuple(ORGANS)
    assert content["labels"] == {"background": 0, **{name: i for i, name in enumerate(chosen, start=1)}}
    assert content["channel_names"] == {"0": "CT"} and content["overwrite_image_reader_writer"] == "SimpleITKIO"


def test_geometry_and_hounsfield_units_are_kept(tmp_path):
    source = trees.btcv(tmp_path)
    folder = convert(source, 509)
    image = sitk.ReadImage(str(folder / "imagesTr" / "img0005_0000.nii.gz"))
    stored = sitk.ReadImage(str(source / "RawData" / "Training" / "img" / "img0005.nii.gz"))
    labels = sitk.ReadImage(str(folder / "labelsTr" / "img0005.nii.gz"))
    for volume in (image, labels):
        np.testing.assert_allclose(volume.GetSpacing(), trees.SPACING, rtol=1e-6)
        np.testing.assert_allclose(volume.GetOrigin(), trees.ORIGIN, rtol=1e-6)
        np.testing.assert_allclose(volume.GetDirection(), trees.DIRECTION, atol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(stored))
    assert image.GetPixelID() == stored.GetPixelID() == sitk.sitkInt16


def test_the_twelve_are_the_test_or_fold_0(tmp_path):
    source = trees.btcv(tmp_path, (*range(1, 11), *range(21, 41)))
    folder = convert(source, 509)
    assert names(folder / "imagesTs") == [f"{id}_0000.nii.gz" for id in TEST_SCANS]
    assert names(folder / "labelsTs") == [f"{id}.nii.gz" for id in TEST_SCANS]
    assert len(names(folder / "labelsTr")) == 18
    paper = convert(source, 510, protocol="paper")
    folds = load(paper / "splits_final.json")
    assert folds[0]["val"] == list(TEST_SCANS) and len(folds[0]["train"]) == 18
    assert not (paper / "imagesTs").exists() and len(names(paper / "labelsTr")) == 30


def test_the_paper_protocol_without_its_scans(tmp_path, nnunet):
    source = trees.btcv(tmp_path, (5, 6, 7))
    with pytest.raises(ValueError, match="none of the papers' test scans .*leave out --protocol paper"):
        convert(source, 509, protocol="paper")
    assert nnunet.content() == []


def test_the_challenges_own_test_is_listed(tmp_path):
    report = load(convert(trees.btcv(tmp_path), 509) / "conversion_report.json")
    assert [case["case"] for case in report["not_used"]] == ["img0061.nii.gz"]


def test_labels_with_another_geometry_than_the_scan(tmp_path, nnunet):
    source = trees.btcv(tmp_path)
    labels = source / "RawData" / "Training" / "label" / "label0006.nii.gz"
    trees.write_volume(labels, np.zeros((4, *trees.SIZE), np.uint8), spacing=(0.7, 0.8, 5.0))
    with pytest.raises(
        ValueError, match=r"label0006\.nii\.gz: the mask has spacing 0\.7 0\.8 5 \(x, y, z\), its image .*3"
    ):
        convert(source, 509)
    assert nnunet.content() == []


@pytest.mark.parametrize("value", [14, 0.5, -1, 300])
def test_values_that_are_no_organ(tmp_path, nnunet, value):
    source = trees.btcv(tmp_path)
    labels = np.zeros((4, *trees.SIZE), np.float32)
    labels[1, 3, 3] = value
    trees.write_volume(source / "RawData" / "Training" / "label" / "label0006.nii.gz", labels)
    with pytest.raises(ValueError, match=rf"label0006\.nii\.gz: holds the values {value}; expected 0 to 13"):
        convert(source, 509)
    assert nnunet.content() == []


def test_plain_nifti_and_labels_stored_as_float(tmp_path):
    source = trees.btcv(tmp_path)
    packed = source / "RawData" / "Training" / "label" / "label0005.nii.gz"
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(packed)))
    packed.unlink()
    trees.write_volume(packed.with_name("label0005.nii"), array.astype(np.float32))
    folder = convert(source, 509)
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr" / "img0005.nii.gz"))).max() == 8


def test_a_slice_for_a_scan(tmp_path):
    source = trees.btcv(tmp_path)
    sitk.WriteImage(sitk.Image(32, 24, sitk.sitkInt16), str(source / "RawData" / "Training" / "img" / "img0005.nii.gz"))
    with pytest.raises(ValueError, match=r"img0005\.nii\.gz: expected a volume of one channel, got 2 axes"):
        convert(source, 509)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.98])
def test_a_packed_file_cut_anywhere_is_refused(tmp_path, nnunet, kept):
    """SimpleITK reads some of these without a word, and fills them up with zeros."""
    source = trees.btcv(tmp_path)
    path = source / "RawData" / "Training" / "img" / "img0005.nii.gz"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"img0005\.nii\.gz: cannot be read as NIfTI"):
        convert(source, 509)
    assert nnunet.content() == []
