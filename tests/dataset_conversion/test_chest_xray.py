"""Chest X-rays: official and merged layouts in any combination, sides, depth, strata, images without a mask."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import dataset_trees as trees
from nnunet_mamba import dataset_conversion

convert = partial(dataset_conversion.convert, "ChestXray")
REAL = Path(__file__).parents[3] / "shared" / "data" / "Lung Segmentation"


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize(
    "plants, cases, unused",
    [
        ((trees.montgomery,), 4, 0),
        ((trees.shenzhen,), 6, 2),
        ((trees.merged,), 10, 1),
        ((trees.montgomery, trees.shenzhen), 10, 2),
    ],
    ids=["montgomery", "shenzhen", "merged", "both official"],
)
def test_any_combination(tmp_path, plants, cases, unused):
    for plant in plants:
        plant(tmp_path / "source")
    report = load(convert(tmp_path / "source", 504) / "conversion_report.json")
    assert report["cases"] == {"training": cases, "test": 0, "skipped": 0}
    assert len(report["not_used"]) == unused


def test_images_without_a_mask_are_listed_and_no_error(tmp_path, capsys):
    folder = convert(trees.shenzhen(tmp_path), 504)
    reasons = {case["case"]: case["reason"] for case in load(folder / "conversion_report.json")["not_used"]}
    assert list(reasons) == ["CHNCXR_0007_0", "CHNCXR_0008_1"]
    assert reasons["CHNCXR_0007_0"].endswith("CHNCXR_0007_0.png: an image without a mask")
    assert "CHNCXR_0008_1.png: an image without a mask" in capsys.readouterr().out


def test_a_hospital_without_any_mask_is_an_error(tmp_path, nnunet):
    trees.montgomery(tmp_path)
    trees.shenzhen(tmp_path, labelled=0)
    with pytest.raises(
        ValueError, match=r"CHNCXR_0001_0\.png: an image without a mask, as all of Shenzhen's; put its masks"
    ):
        convert(tmp_path, 504)
    assert nnunet.content() == []


def test_12_bits_are_kept_and_colour_becomes_grey(tmp_path):
    trees.montgomery(tmp_path)
    trees.shenzhen(tmp_path)
    folder = convert(tmp_path, 504)
    deep = pixels(folder / "imagesTr" / "MCUCXR_0001_0_0000.png")
    assert deep.dtype == np.uint16 and set(np.unique(deep)) == {640, 3200}
    grey = pixels(folder / "imagesTr" / "CHNCXR_0002_1_0000.png")
    assert grey.dtype == np.uint8 and grey.shape == trees.SIZE and set(np.unique(grey)) == {40, 200}
    assert load(folder / "dataset.json")["channel_names"] == {"0": "xray"}


def test_nnunet_reads_12_bits(tmp_path):
    reader = pytest.importorskip("nnunetv2.imageio.natural_image_reader_writer").NaturalImage2DIO()
    folder = convert(trees.montgomery(tmp_path), 504)
    image, _ = reader.read_images([str(folder / "imagesTr" / "MCUCXR_0001_0_0000.png")])
    assert image.shape == (1, 1, *trees.SIZE) and (image.min(), image.max()) == (640, 3200)


def test_left_or_right(tmp_path):
    folder = convert(trees.montgomery(tmp_path), 504)
    np.testing.assert_array_equal(pixels(folder / "labelsTr" / "MCUCXR_0002_0.png"), trees.box(1))


def test_sides(tmp_path):
    trees.montgomery(tmp_path)
    trees.shenzhen(tmp_path)
    folder = convert(tmp_path, 504, sides=True)
    assert load(folder / "dataset.json")["labels"] == {"background": 0, "left_lung": 1, "right_lung": 2}
    labels = pixels(folder / "labelsTr" / "MCUCXR_0001_0.png")
    expected = np.where(np.arange(trees.SIZE[1]) < 14, 2, 1) * trees.box(0)
    np.testing.assert_array_equal(labels, expected)
    report = load(folder / "conversion_report.json")
    assert report["cases"]["training"] == 4
    assert len(report["not_used"]) == 8 and "does not tell the lungs apart" in report["not_used"][0]["reason"]


def test_sides_where_no_mask_gives_them(tmp_path, nnunet):
    with pytest.raises(ValueError, match="no mask tells the lungs apart; --sides needs Montgomery's"):
        convert(trees.merged(tmp_path), 504, sides=True)
    assert nnunet.content() == []


def test_sides_that_overlap(tmp_path, nnunet):
    root = trees.montgomery(tmp_path)
    trees.write_mask(root / "ManualMask" / "leftMask" / "MCUCXR_0001_0.png", trees.box(0))
    with pytest.raises(ValueError, match=r"leftMask.MCUCXR_0001_0\.png: left and right lung share 60 pixels"):
        convert(root, 504, sides=True)
    assert pixels(convert(root, 504) / "labelsTr" / "MCUCXR_0001_0.png").sum() == trees.box(0).sum()


@pytest.mark.parametrize("missing, other", [("leftMask", "rightMask"), ("rightMask", "leftMask")])
def test_a_missing_lung(tmp_path, nnunet, missing, other):
    root = trees.montgomery(tmp_path)
    (root / "ManualMask" / missing / "MCUCXR_0003_1.png").unlink()
    with pytest.raises(
        ValueError, match=rf"{other}.MCUCXR_0003_1\.png: the mask of the other lung .* expected .* in {missing}"
    ):
        convert(root, 504)
    assert nnunet.content() == []


def test_right_mask_of_another_size(tmp_path):
    root = trees.montgomery(tmp_path)
    trees.write_mask(root / "ManualMask" / "rightMask" / "MCUCXR_0001_0.png", trees.box(size=(20, 32)))
    with pytest.raises(ValueError, match=r"rightMask.MCUCXR_0001_0\.png: the mask has 20x32 pixels .* 24x32"):
        convert(root, 504)


def test_official_and_merged_together_are_told_apart(tmp_path, nnunet):
    trees.montgomery(tmp_path, ("0000_0", "0001_1"))
    trees.merged(tmp_path)
    with pytest.raises(ValueError, match=r"MCUCXR_0000_0 has 2 images: .*Lung Segmentation.*MontgomerySet"):
        convert(tmp_path, 504)
    assert nnunet.content() == []


def test_anti_aliased_masks_are_cut_at_127(tmp_path):
    folder = convert(trees.merged(tmp_path), 504)
    expected = trees.box(2)
    expected[5, 8:14], expected[8, 8:14] = False, True  # 100 is not lung, 160 is
    np.testing.assert_array_equal(pixels(folder / "labelsTr" / "MCUCXR_0002_0.png"), expected)


def test_folds_are_balanced_over_hospital_and_tuberculosis(tmp_path):
    trees.montgomery(tmp_path, tuple(f"{i:04d}_{i % 2}" for i in range(14)))
    trees.shenzhen(tmp_path, labelled=23)
    folder = convert(tmp_path, 504, test=4)
    strata = load(folder / "conversion_report.json")["strata"]
    assert {name: counts["training"] + counts["test"] for name, counts in strata.items()} == {
        "Montgomery normal": 7,
        "Montgomery tuberculosis": 7,
        "Shenzhen normal": 12,
        "Shenzhen tuberculosis": 11,
    }
    for counts in strata.values():
        assert max(counts["val"]) - min(counts["val"]) <= 1 and counts["test"] in (0, 1, 2)


def test_paper_protocol(tmp_path):
    folder = convert(trees.montgomery(tmp_path), 504, protocol="paper")
    assert load(folder / "conversion_report.json")["written_sizes"] == {"256x256": 4}
    assert pixels(folder / "imagesTr" / "MCUCXR_0001_0_0000.png").dtype == np.uint16


def test_endings_in_capitals_and_clutter(tmp_path):
    root = trees.merged(tmp_path)
    image = root / "CXR_png" / "CHNCXR_0000_0.png"
    image.rename(image.with_suffix(".PNG"))
    shutil.copy(root / "masks" / "MCUCXR_0000_0.png", root / "masks" / "._MCUCXR_0000_0.png")
    (root / "masks" / "notes.txt").write_text("")
    assert load(convert(root, 504) / "dataset.json")["numTraining"] == 10


def test_real_cases(nnunet):
    if not REAL.is_dir():
        pytest.skip("no real radiographs beside the repository")
    folder = convert(REAL, 504)
    report = load(folder / "conversion_report.json")
    assert report["cases"]["skipped"] == 0 and report["empty_masks"] == []
    assert report["cases"]["training"] + len(report["not_used"]) == len(list((REAL / "CXR_png").glob("*.png")))
    assert 0.05 < report["foreground"]["min"] <= report["foreground"]["max"] < 0.6
    # Air is darker than the body between the lungs. Mismatched images and masks would not show this nearly everywhere.
    darker = []
    for label in sorted((folder / "labelsTr").iterdir()):
        mask = pixels(label) > 0
        image = pixels(folder / "imagesTr" / f"{label.stem}_0000.png").astype(float)
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        inside = slice(rows[0], rows[-1]), slice(columns[0], columns[-1])
        darker.append(image[inside][mask[inside]].mean() < image[inside][~mask[inside]].mean())
    assert np.mean(darker) > 0.95
