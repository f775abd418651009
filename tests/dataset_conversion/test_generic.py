"""Any folder pair: which mask belongs to which image, groups, and masks that are none."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from helpers import dataset_trees as trees
from nnunet_mamba import dataset_conversion

convert = partial(dataset_conversion.convert, "generic", dataset_id=510)


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def pair(tmp_path: Path, count: int) -> tuple[Path, Path]:
    for i in range(count):
        trees.write_image(tmp_path / "images" / f"{i}.png", i)
        trees.write_mask(tmp_path / "masks" / f"{i}.png", trees.box(i))
    return tmp_path / "images", tmp_path / "masks"


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda path: Image.effect_noise((32, 24), 90).save(path), r"not a mask, \d+% of its pixels differ"),
        (lambda path: path.write_bytes(path.read_bytes()[:60]), "cannot be read as an image"),
        (lambda path: save_tiff(path, np.full(trees.SIZE, 0.5, np.float32)), "a mask with fractions, such as 0.5"),
        (
            lambda path: save_tiff(path, np.zeros((4, *trees.SIZE), np.uint8)),
            "one channel or of 8-bit colours, got 4 ch",
        ),
    ],
    ids=["photograph", "truncated", "fractions", "pages"],
)
def test_no_mask(tmp_path, nnunet, spoil, message):
    fed = pair(tmp_path, 4)
    spoil(fed[1] / "1.png")
    with pytest.raises(ValueError, match=rf"1\.(png|tif): .*{message}") as error:
        convert(fed)
    assert "--skip-bad" in str(error.value) and nnunet.content() == []
    assert load(convert(fed, skip_bad=True) / "dataset.json")["numTraining"] == 3


def save_tiff(path: Path, pixels: np.ndarray) -> None:
    path.unlink()
    tifffile.imwrite(path.with_suffix(".tif"), pixels, photometric="minisblack")


@pytest.mark.parametrize(
    "image, mask",
    [
        ("a.png", "a.png"),
        ("a.jpg", "a_mask.png"),
        ("a.png", "a_Segmentation.tif"),
        ("a b (1).png", "a b (1)_mask.png"),
        ("a_image.png", "a_label.png"),
        ("a_0000.png", "a.png"),
        ("a-img.bmp", "a-gt.bmp"),
        ("A.PNG", "a_manual1.png"),
        ("eye_mask.png", "eye_mask_mask.png"),
    ],
)
def test_names_that_belong_together(tmp_path, image, mask):
    for i, (name, other) in enumerate(((image, mask), ("b.png", "b.png"))):
        trees.write_image(tmp_path / "images" / name, i)
        trees.write_mask(tmp_path / "masks" / other, trees.box(i))
    folder = convert((tmp_path / "images", tmp_path / "masks"))
    label = np.asarray(Image.open(folder / "labelsTr" / f"{Path(image).stem}.png"))
    np.testing.assert_array_equal(label, trees.box(0))


def test_two_masks_for_an_image(tmp_path, nnunet):
    fed = pair(tmp_path, 3)
    trees.write_mask(fed[1] / "1_mask.png", trees.box())
    with pytest.raises(ValueError, match=r"1 has 2 masks: .*1\.png, .*1_mask\.png; keep one"):
        convert(fed)
    assert nnunet.content() == []


@pytest.mark.parametrize("regex, groups", [("^(P[0-9]+)_", 3), ("^P[0-9]+", 3), (None, 7)])
def test_groups(tmp_path, regex, groups):
    source = trees.folder_pair(tmp_path)
    folder = convert((source / "images", source / "masks"), group_regex=regex)
    folds = load(folder / "splits_final.json")
    assert len(folds) == min(groups, 5)
    if regex:
        for fold in folds:
            assert {id[:2] for id in fold["train"]}.isdisjoint(id[:2] for id in fold["val"])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"group_regex": "("}, r"--group-regex '\(' is not a regular expression"),
        ({"group_regex": "^(X?)P"}, r"P0_0\.png: --group-regex '\^\(X\?\)P' finds nothing in 'P0_0'"),
        ({"group_regex": "Q"}, r"P0_0\.png: --group-regex 'Q' finds nothing in 'P0_0'"),
        ({"name": "my data"}, "--name takes letters, digits, - and _; got 'my data'"),
        ({"name": "../x"}, "--name takes letters"),
        ({"processes": 0}, "-np must be 1 or more, got 0"),
    ],
    ids=str,
)
def test_bad_option(tmp_path, nnunet, options, message):
    source = trees.folder_pair(tmp_path)
    with pytest.raises(ValueError, match=message):
        convert((source / "images", source / "masks"), **options)
    assert nnunet.content() == []


def test_one_folder_for_both(tmp_path, nnunet):
    source = trees.folder_pair(tmp_path)
    with pytest.raises(ValueError, match="given as --images and as --masks"):
        convert((source / "images", source / "images" / ".." / "images"))
    assert nnunet.content() == []
