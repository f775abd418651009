"""Any folder of images beside one of masks: pairing, classes, groups, and each bad input."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from nnunet_mamba.dataset_conversion.generic import convert

NAMES = ("P01_a", "P01_b", "P02_a", "P03_a", "P04_a", "P05_a", "P06 x", "P07_a")


def mask_of(size, low=3, high=9):
    mask = np.zeros(size, np.uint8)
    mask[low:high, low:high] = 1
    return mask


@pytest.fixture
def pair(tmp_path):
    """images/ of PNG and JPEG, masks/ of PNG with a common suffix, some without, and clutter."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    for folder in (images, masks):
        folder.mkdir()
        (folder / "Thumbs.db").write_bytes(b"")
    for i, name in enumerate(NAMES):
        size = (16 + i, 20)
        pixels = np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{name}{'.jpg' if i == 1 else '.png'}")
        Image.fromarray(255 * mask_of(size)).save(masks / f"{name}{('_mask', '-seg', '', '_GT')[i % 4]}.png")
    return images, masks


def read(folder, part, case):
    return np.asarray(Image.open(folder / f"{part}Tr" / f"{case}.png"))


def test_pairs_are_found_whatever_a_mask_is_called(pair):
    folder = convert(*pair, 510, name="UWF", group_regex=r"(P\d+)")
    assert folder.name == "Dataset510_UWF"
    cases = sorted(path.stem for path in (folder / "labelsTr").iterdir())
    assert cases == sorted(name.replace(" ", "_") for name in NAMES)
    for i, name in enumerate(NAMES):
        np.testing.assert_array_equal(read(folder, "labels", name.replace(" ", "_")), mask_of((16 + i, 20)))
    description = json.loads((folder / "dataset.json").read_text())
    assert description["labels"] == {"background": 0, "foreground": 1} and len(description["channel_names"]) == 3


def test_groups_stay_together(pair):
    folds = json.loads((convert(*pair, 510, group_regex=r"(P\d+)") / "splits_final.json").read_text())
    assert sum("P01_a" in fold["val"] for fold in folds) == 1
    assert all(("P01_a" in fold["val"]) == ("P01_b" in fold["val"]) for fold in folds)


def test_classes_are_grey_values_or_indices_of_a_palette(pair):
    images, masks = pair
    for path in masks.glob("*.png"):
        values = np.asarray(Image.open(path)) // 255
        values[0, 0] = 2
        indexed = Image.fromarray(values)
        if path.stem.startswith("P02"):
            indexed = indexed.convert("P")
            indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
            indexed.putdata(values.ravel().tolist())
        indexed.save(path)
    folder = convert(images, masks, 510, labels=["vessel", "lesion"])
    assert json.loads((folder / "dataset.json").read_text())["labels"] == {"background": 0, "vessel": 1, "lesion": 2}
    assert set(np.unique(read(folder, "labels", "P02_a"))) == {0, 1, 2}


def test_grey_images_keep_their_16_bits(pair):
    images, masks = pair
    for path in images.iterdir():
        if path.suffix in (".png", ".jpg"):
            size = Image.open(path).size[::-1]
            path.unlink()
            Image.fromarray(np.full(size, 40_000, np.uint16)).save(path.with_suffix(".png"))
    folder = convert(images, masks, 510, grey=True)
    assert read(folder, "images", "P02_a_0000").max() == 40_000
    assert json.loads((folder / "dataset.json").read_text())["channel_names"] == {"0": "grey"}


def test_zips_of_one_folder_each(pair, tmp_path):
    zips = []
    for folder in pair:
        zips.append(tmp_path / f"{folder.name}.zip")
        with zipfile.ZipFile(zips[-1], "w") as archive:
            for path in folder.iterdir():
                archive.write(path, f"{folder.name}/{path.name}")
    assert len(list((convert(*zips, 510) / "imagesTr").iterdir())) == len(NAMES)


def drop_mask(images, masks):
    (masks / "P02_a.png").unlink()


def drop_image(images, masks):
    (images / "P02_a.png").unlink()


def double_mask(images, masks):
    Image.fromarray(mask_of((18, 20))).save(masks / "P02_a_seg.png")


def other_size(images, masks):
    Image.fromarray(255 * mask_of((12, 12))).save(masks / "P02_a.png")


def truncate(images, masks):
    path = images / "P02_a.png"
    path.write_bytes(path.read_bytes()[:200])


def empty_masks(images, masks):
    for path in masks.iterdir():
        path.unlink()
    (masks / "readme.txt").write_text("nothing")


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (drop_mask, {}, r"P02_a\.png: an image without a mask"),
        (drop_image, {}, r"P02_a\.png: a mask without an image"),
        (double_mask, {}, r"P02_a: .*; wanted one image and one mask"),
        (other_size, {}, r"P02_a\.png: the mask has 12x12 pixels \(H x W\), its image P02_a\.png 18x20"),
        (truncate, {}, r"P02_a\.png: cannot be read as an image"),
        (empty_masks, {}, r"masks: holds no images .*; found readme\.txt"),
        (None, {"group_regex": r"Q\d+"}, "--group-regex 'Q.*' does not match its name"),
        (None, {"group_regex": "("}, "--group-regex .*: not a regular expression"),
        (None, {"labels": ["a", "a"]}, "--labels a a: wanted different names"),
        (None, {"labels": ["vessel"]}, r"holds the values \[255\], which are no label"),
        (None, {"name": "a b"}, "--name 'a b': wanted letters"),
        (None, {"protocol": "paper"}, "--protocol paper: no paper gives one for Generic"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(pair, nnunet, spoil, options, message):
    if spoil:
        spoil(*pair)
    before = nnunet.content()
    with pytest.raises(ValueError, match=message):
        convert(*pair, 510, **options)
    assert nnunet.content() == before


def test_bad_cases_can_be_left_out(pair):
    drop_mask(*pair)
    folder = convert(*pair, 510, skip_bad=True)
    assert not (folder / "labelsTr" / "P02_a.png").exists()
    assert "P02_a" in json.dumps(json.loads((folder / "conversion_report.json").read_text()))
