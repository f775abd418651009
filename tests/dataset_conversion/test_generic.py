"""Any folder pair: which mask belongs to which image, what the values mean, groups, and channels."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import dataset_trees as trees
from nnunet_mamba import dataset_conversion

convert = partial(dataset_conversion.convert, "generic", dataset_id=510)


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def write_values(path: Path, array: np.ndarray, mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array.astype(np.uint8))
    if mode == "P":
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette([0, 0, 0, 250, 10, 10, 10, 250, 10, 10, 10, 250])
    image.convert(mode).save(path)


def boxes(*values: int) -> np.ndarray:
    """(24, 32): a 5x5 square of each value."""
    mask = np.zeros(trees.SIZE, np.uint8)
    for i, value in enumerate(values):
        mask[4:9, 1 + 6 * i : 6 + 6 * i] = value
    return mask


def pair(tmp_path: Path, masks: list[np.ndarray], ending: str = "png", mode: str = "L") -> tuple[Path, Path]:
    for i, mask in enumerate(masks):
        trees.write_image(tmp_path / "images" / f"{i}.png")
        write_values(tmp_path / "masks" / f"{i}.{ending}", mask, mode)
    return tmp_path / "images", tmp_path / "masks"


SOFT = boxes(255)
SOFT[9, 1:6], SOFT[3, 1:6] = 90, 180


@pytest.mark.parametrize(
    "masks, mode, classes",
    [
        ([boxes(255), boxes(255)], "L", None),
        ([boxes(1), boxes(1)], "L", None),
        ([boxes(255), boxes(255)], "1", None),
        ([boxes(255), boxes()], "RGB", None),
        ([SOFT, SOFT], "L", None),
        ([boxes(255), boxes(1)], "L", None),  # two ways to store one class
        ([boxes(1, 2), boxes(2)], "L", (1, 2)),
        ([boxes(1), boxes(2)], "L", (1, 2)),
        ([boxes(1, 2, 3), boxes(3)], "P", (1, 2, 3)),
        ([boxes(1, 7), boxes(31)], "RGB", (1, 7, 31)),
        ([boxes(128, 255), boxes(255)], "L", (128, 255)),
        ([boxes(85, 170, 255), boxes(85)], "L", (85, 170, 255)),
    ],
)
def test_the_values_decide(tmp_path, masks, mode, classes):
    folder = convert(pair(tmp_path, masks, mode=mode))
    labels = load(folder / "dataset.json")["labels"]
    assert load(folder / "conversion_report.json")["options"]["mask_values"] == (
        list(classes) if classes else "one class"
    )
    if classes is None:
        assert labels == {"background": 0, "foreground": 1}
        expected = [mask > (0 if mask.max() == 1 else 127) for mask in masks]
    else:
        assert labels == {"background": 0, **{f"class_{value}": i for i, value in enumerate(classes, start=1)}}
        expected = [np.searchsorted([0, *classes], mask) for mask in masks]
    for i, array in enumerate(expected):
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "labelsTr" / f"{i}.png")), array)


def test_jpeg_masks_are_one_class(tmp_path):
    folder = convert(pair(tmp_path, [boxes(255), boxes(255)], ending="jpg"))
    assert load(folder / "dataset.json")["labels"] == {"background": 0, "foreground": 1}


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda masks: Image.fromarray(np.stack([boxes(255), boxes(0, 9), boxes()], 2)).save(masks / "1.png"),
            "several col",
        ),
        (lambda masks: Image.effect_noise((32, 24), 90).save(masks / "1.png"), "not a mask"),
        (
            lambda masks: Image.fromarray(np.full(trees.SIZE, 40000, np.uint16)).save(masks / "1.png"),
            "expected an 8-bit image",
        ),
    ],
    ids=["colours", "photograph", "16 bits"],
)
def test_no_mask(tmp_path, nnunet, spoil, message):
    fed = pair(tmp_path, [boxes(255)] * 4)
    spoil(fed[1])
    with pytest.raises(ValueError, match=rf"1\.png: .*{message}") as error:
        convert(fed)
    assert "--skip-bad" in str(error.value) and nnunet.content() == []
    assert load(convert(fed, skip_bad=True) / "dataset.json")["numTraining"] == 3


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
    fed = pair(tmp_path, [boxes(255)] * 3)
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


@pytest.mark.parametrize(
    "modes, channels, stored",
    [
        (("L", "L"), ["grey"], "L"),
        (("I;16", "L"), ["grey"], "I;16"),
        (("L", "RGB"), ["R", "G", "B"], "RGB"),
        (("RGBA", "RGB"), ["R", "G", "B"], "RGB"),
    ],
    ids=str,
)
def test_channels(tmp_path, modes, channels, stored):
    for i, mode in enumerate(modes):
        trees.write_image(tmp_path / "images" / f"{i}.png", mode=mode)
        trees.write_mask(tmp_path / "masks" / f"{i}.png", trees.box())
    folder = convert((tmp_path / "images", tmp_path / "masks"), name="Mine")
    assert folder.name == "Dataset510_Mine"
    assert list(load(folder / "dataset.json")["channel_names"].values()) == channels
    assert Image.open(folder / "imagesTr" / "0_0000.png").mode == stored
