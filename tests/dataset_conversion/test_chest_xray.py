"""Chest X-rays from trees in their layouts: sites, sides, missing masks, strata, and each bad input; and the real subset."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nnunet_mamba.dataset_conversion.chest_xray import convert

REAL = Path(__file__).parents[3] / "shared" / "data" / "Lung Segmentation"
SIZE = (24, 20)


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def xray(seed, dtype=np.uint8, channels=0):
    shape = (*SIZE, channels) if channels else SIZE
    return np.random.default_rng(seed).integers(0, 256 if dtype == np.uint8 else 4096, shape).astype(dtype)


def lung(left):
    values = np.zeros(SIZE, np.uint8)
    values[4:20, 2:8] = 255 * left
    values[4:20, 11:18] = 255 * (not left)
    return values


BOTH = np.maximum(lung(True), lung(False))


@pytest.fixture
def montgomery(tmp_path):
    """Official, with 12 bits a pixel, normal and with tuberculosis."""
    root = tmp_path / "source" / "MontgomerySet"
    for i in range(6):
        name = f"MCUCXR_{i:04}_{i % 2}.png"
        save(root / "CXR_png" / name, xray(i, np.uint16))
        save(root / "ManualMask" / "leftMask" / name, lung(True))
        save(root / "ManualMask" / "rightMask" / name, lung(False))
    (root / "ClinicalReadings").mkdir()
    return tmp_path / "source"


@pytest.fixture
def shenzhen(tmp_path):
    """Official, the masks in a folder of their own, one image of three channels, two without a mask, an anti-aliased mask."""
    source = tmp_path / "source"
    for i in range(8):
        name = f"CHNCXR_{i:04}_{i % 2}"
        save(source / "ChinaSet_AllFiles" / "CXR_png" / f"{name}.png", xray(i, channels=3 if i == 3 else 0))
        if i < 6:
            values = BOTH.copy()
            if i == 1:
                values[3, 2:8], values[20, 2:8] = 60, 200
            save(source / "mask" / "mask" / f"{name}_mask.png", values)
    return source


@pytest.fixture
def merged(tmp_path):
    root = tmp_path / "source" / "Lung Segmentation"
    for i in range(6):
        for name, suffix in ((f"CHNCXR_{i:04}_{i % 2}", "_mask"), (f"MCUCXR_{i:04}_{i % 2}", "")):
            save(root / "CXR_png" / f"{name}.png", xray(i))
            save(root / "masks" / f"{name}{suffix}.png", BOTH)
    save(root / "CXR_png" / "CHNCXR_0099_1.png", xray(99))
    return root


def label(folder, case):
    return np.asarray(Image.open(folder / "labelsTr" / f"{case}.png"))


def report(folder):
    return (folder / "conversion_report.json").read_text()


def test_montgomery_keeps_its_12_bits_and_joins_the_lungs(montgomery):
    folder = convert(montgomery, 504)
    np.testing.assert_array_equal(label(folder, "MCUCXR_0001_1"), BOTH // 255)
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "imagesTr" / "MCUCXR_0001_1_0000.png")), xray(1, np.uint16))
    assert json.loads((folder / "dataset.json").read_text())["labels"] == {"background": 0, "lung": 1}


def test_sides_are_kept_apart_where_they_are_given(montgomery, shenzhen):
    folder = convert(montgomery, 504, sides=True)
    np.testing.assert_array_equal(label(folder, "MCUCXR_0000_0"), lung(True) // 255 + 2 * (lung(False) // 255))
    assert len(list((folder / "labelsTr").iterdir())) == 6
    assert "does not tell the lungs apart" in report(folder)


def test_shenzhen_without_masks_is_listed_and_no_error(shenzhen):
    folder = convert(shenzhen, 504)
    assert len(list((folder / "labelsTr").iterdir())) == 6
    assert "CHNCXR_0006_0" in report(folder) and "CHNCXR_0007_1" in report(folder)
    assert set(np.unique(label(folder, "CHNCXR_0001_1"))) == {0, 1}
    assert not label(folder, "CHNCXR_0001_1")[3].any() and label(folder, "CHNCXR_0001_1")[20, 2:8].all()


def test_merged_masks_have_suffixes_or_none_and_folds_are_balanced(merged):
    folder = convert(merged, 504)
    folds = json.loads((folder / "splits_final.json").read_text())
    assert sum(len(fold["val"]) for fold in folds) == 12
    assert all(1 <= sum(case.startswith("MCU") for case in fold["val"]) <= 2 for fold in folds)


def test_all_layouts_at_once(montgomery, shenzhen):
    assert len(list((convert(montgomery, 504) / "imagesTr").iterdir())) == 12


def other_size(source):
    save(source / "MontgomerySet" / "ManualMask" / "leftMask" / "MCUCXR_0002_0.png", np.zeros((9, 9), np.uint8))


def one_side(source):
    (source / "MontgomerySet" / "ManualMask" / "leftMask" / "MCUCXR_0002_0.png").unlink()


def truncate(source):
    path = source / "MontgomerySet" / "CXR_png" / "MCUCXR_0002_0.png"
    path.write_bytes(path.read_bytes()[:150])


def overlap(source):
    save(source / "MontgomerySet" / "ManualMask" / "leftMask" / "MCUCXR_0002_0.png", BOTH)


def no_masks(source):
    shutil.rmtree(source / "MontgomerySet" / "ManualMask")


def other_layout(source):
    (source / "MontgomerySet" / "CXR_png").rename(source / "MontgomerySet" / "pictures")


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (other_size, {}, r"leftMask/MCUCXR_0002_0\.png: the mask has 9x9 pixels \(H x W\), its image MCUCXR_0002_0\.png 24x20"),
        (one_side, {}, r"MCUCXR_0002_0\.png: the mask of the other lung is missing; expected .* in leftMask"),
        (truncate, {}, r"MCUCXR_0002_0\.png: cannot be read as an image"),
        (overlap, {"sides": True}, r"left and right lung share \d+ pixels"),
        (no_masks, {}, "an image without a mask, as all of Montgomery's"),
        (other_layout, {}, "not a layout of the chest X-rays; expected MontgomerySet/.*; found MontgomerySet"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(montgomery, nnunet, spoil, options, message):
    spoil(montgomery)
    before = nnunet.content()
    with pytest.raises(ValueError, match=message):
        convert(montgomery, 504, **options)
    assert nnunet.content() == before


def test_sides_need_masks_that_tell_them(shenzhen):
    with pytest.raises(ValueError, match="no mask tells the lungs apart; --sides needs Montgomery"):
        convert(shenzhen, 504, sides=True)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/data")
def test_the_real_subset(nnunet):
    folder = convert(REAL, 504, protocol="paper", processes=2)
    images, labels = (sorted(path.name for path in (folder / kind).iterdir()) for kind in ("imagesTr", "labelsTr"))
    assert len(images) == len(labels) > 0
    for case in labels[:20]:
        values = np.asarray(Image.open(folder / "labelsTr" / case))
        assert values.shape == (256, 256) and 0.05 < values.mean() < 0.6
