"""Images of any depth, channels and tree: what nnU-Net's own readers see is what the files held."""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image

from helpers import dataset_trees as trees
from nnunet_mamba import dataset_conversion

NaturalImage2DIO = pytest.importorskip("nnunetv2.imageio.natural_image_reader_writer").NaturalImage2DIO
SimpleITKIO = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer").SimpleITKIO
convert = partial(dataset_conversion.convert, "generic", dataset_id=510)
H, W = trees.SIZE


def values(i: int, channels: int, dtype: str) -> np.ndarray:
    """(H, W, channels) over the range of the type."""
    random = np.random.default_rng(i)
    if dtype == "float32":
        return random.normal(0, 1000, (H, W, channels)).astype(dtype)
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max, (H, W, channels), dtype, endpoint=True)


def png(path: Path, pixels: np.ndarray) -> None:
    if pixels.dtype == np.uint16 and pixels.shape[2] == 3:
        sitk.WriteImage(sitk.GetImageFromArray(pixels, isVector=True), str(path.with_suffix(".png")))
    else:
        Image.fromarray(pixels.squeeze()).save(path.with_suffix(".png"))


def pages(path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), np.moveaxis(pixels, -1, 0), photometric="minisblack")


def planes(path: Path, pixels: np.ndarray) -> None:
    options = {"planarconfig": "contig"} if pixels.shape[2] > 1 else {}
    path = path.with_suffix(".tif")
    tifffile.imwrite(path, pixels.squeeze(), photometric="minisblack", compression="lzw", **options)


def rgb(path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), pixels, photometric="rgb")


def image_j(path: Path, pixels: np.ndarray) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), np.moveaxis(pixels, -1, 0), imagej=True, metadata={"axes": "CYX"})


def many(count: int) -> list[str]:
    return [f"channel_{i}" for i in range(count)]


RGB = ["R", "G", "B"]


@pytest.mark.parametrize(
    "write, channels, dtype, names, files, ending",
    [
        (png, 1, "uint8", ["grey"], 1, ".png"),
        (png, 1, "uint16", ["grey"], 1, ".png"),
        (png, 3, "uint8", RGB, 1, ".png"),
        (png, 3, "uint16", RGB, 3, ".png"),
        (rgb, 3, "uint8", RGB, 1, ".png"),
        (rgb, 3, "uint16", RGB, 3, ".png"),
        (planes, 1, "uint16", ["grey"], 1, ".png"),
        (planes, 1, "int16", ["grey"], 1, ".tif"),
        (planes, 1, "float32", ["grey"], 1, ".tif"),
        (planes, 5, "uint8", many(5), 5, ".png"),
        (pages, 2, "uint16", many(2), 2, ".png"),
        (pages, 4, "float32", many(4), 4, ".tif"),
        (image_j, 3, "uint8", many(3), 1, ".png"),
        (image_j, 4, "uint16", many(4), 4, ".png"),
    ],
)
def test_depths_and_channels(tmp_path, write, channels, dtype, names, files, ending):
    for i in range(2):
        trees.write_mask(tmp_path / "masks" / f"{i}.png", trees.box(i))
        (tmp_path / "images").mkdir(exist_ok=True)
        write(tmp_path / "images" / f"{i}", values(i, channels, dtype))
    folder = convert((tmp_path / "images", tmp_path / "masks"))
    facts = json.loads((folder / "dataset.json").read_text())
    assert list(facts["channel_names"].values()) == names and facts["file_ending"] == ending
    for i in range(2):
        written = sorted((folder / "imagesTr").glob(f"{i}_*"))
        assert [path.name for path in written] == [f"{i}_{channel:04d}{ending}" for channel in range(files)]
        read, _ = NaturalImage2DIO().read_images([str(path) for path in written])
        np.testing.assert_array_equal(read[:, 0], np.moveaxis(values(i, channels, dtype), -1, 0).astype(np.float32))
        labels, _ = NaturalImage2DIO().read_seg(str(folder / "labelsTr" / f"{i}{ending}"))
        np.testing.assert_array_equal(labels[0, 0], trees.box(i))
    assert np.asarray(Image.open(folder / "contact_sheet.png"))[18:100, :280].std() > 10  # not one tone
    small = convert((tmp_path / "images", tmp_path / "masks"), dataset_id=511, size=(12, 16))
    read, _ = NaturalImage2DIO().read_images([str(path) for path in sorted((small / "imagesTr").glob("0_*"))])
    expected = values(0, channels, dtype).reshape(12, 2, 16, 2, channels).mean(axis=(1, 3))
    np.testing.assert_allclose(read[:, 0], np.moveaxis(expected, -1, 0), atol=0.51, rtol=1e-5)


def test_the_widest_type_holds_all(tmp_path):
    for i, dtype in enumerate(("uint8", "uint16", "float32")):
        trees.write_mask(tmp_path / "masks" / f"{i}.png", trees.box(i))
        (tmp_path / "images").mkdir(exist_ok=True)
        planes(tmp_path / "images" / f"{i}", values(i, 1, dtype))
    folder = convert((tmp_path / "images", tmp_path / "masks"))
    for i, dtype in enumerate(("uint8", "uint16", "float32")):
        read = tifffile.imread(folder / "imagesTr" / f"{i}_0000.tif")
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, values(i, 1, dtype)[..., 0])


def test_transparency_is_left_out_if_it_says_nothing(tmp_path):
    fed = tmp_path / "images", tmp_path / "masks"
    for i, mode in enumerate(("RGBA", "RGB", "P")):
        trees.write_image(fed[0] / f"{i}.png", mode=mode)
        trees.write_mask(fed[1] / f"{i}.png", trees.box())
    for i in range(3):
        read = np.asarray(Image.open(convert(fed, dataset_id=520 + i) / "imagesTr" / f"{i}_0000.png"))
        np.testing.assert_array_equal(read, np.where(trees.box()[..., None], 200, 40) * np.ones(3, int))


def add_grey(images: Path) -> None:
    trees.write_image(images / "1.png", mode="L")


def add_pages(images: Path) -> None:
    (images / "1.png").unlink()
    pages(images / "1", values(1, 4, "uint8"))


def add_nifti(images: Path) -> None:
    (images / "1.png").unlink()
    trees.write_volume(images / "1.nii.gz", np.zeros((2, H, W), np.int16))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (add_grey, r"3 RGB \(such as 3\.png\) and 1 grey \(such as 1\.png\) images in one data set"),
        (add_pages, r"3 RGB \(such as 3\.png\) and 1 4 channels \(such as 1\.tif\)"),
        (add_nifti, r"3 RGB \(such as 3\.png\) and 1 NIfTI \(such as 1\.nii\.gz\)"),
    ],
)
def test_mixed_kinds_name_one_of_each(tmp_path, nnunet, spoil, message):
    for i in range(4):
        trees.write_image(tmp_path / "images" / f"{i}.png")
        trees.write_mask(tmp_path / "masks" / f"{i}.png", trees.box())
    spoil(tmp_path / "images")
    with pytest.raises(ValueError, match=message):
        convert((tmp_path / "images", tmp_path / "masks"))
    assert nnunet.content() == []


def nan(path: Path) -> None:
    planes(path, np.full((H, W, 1), np.nan, np.float32))


def slices(path: Path) -> None:
    data = np.zeros((4, H, W), np.uint16)
    tifffile.imwrite(path.with_suffix(".tif"), data, imagej=True, metadata={"axes": "ZYX"})


def fourth(path: Path) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), values(0, 4, "uint16"))  # tifffile says RGB with alpha


def cut(path: Path) -> None:
    pages(path, values(0, 1, "uint16"))
    file = path.with_suffix(".tif")
    file.write_bytes(file.read_bytes()[:-200])


@pytest.mark.parametrize(
    "spoil, message",
    [
        (nan, r"1\.tif: holds values that are not finite \(NaN\)"),
        (slices, r"1\.tif: a TIFF with the axes ZYX; expected one image.*Save volumes as NIfTI"),
        (fourth, r"1\.tif: its transparency \(alpha\) varies"),
        (cut, r"1\.tif: cannot be read as an image"),
    ],
)
def test_images_that_cannot_be_used(tmp_path, nnunet, spoil, message):
    for i in range(4):
        trees.write_mask(tmp_path / "masks" / f"{i}.png", trees.box())
        (tmp_path / "images").mkdir(exist_ok=True)
        planes(tmp_path / "images" / f"{i}", values(i, 1, "float32"))
    (tmp_path / "images" / "1.tif").unlink()
    spoil(tmp_path / "images" / "1")
    with pytest.raises(ValueError, match=message):
        convert((tmp_path / "images", tmp_path / "masks"))
    assert nnunet.content() == []
    assert not (convert((tmp_path / "images", tmp_path / "masks"), skip_bad=True) / "labelsTr" / "1.tif").exists()


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_nifti_pairs(tmp_path, depth):
    """2-D files (depth 0) become volumes of one slice."""
    for i in range(5):
        shape = (depth, H, W) if depth else (H, W)
        image = np.random.default_rng(i).normal(0, 300, shape).astype(np.float32)
        labels = np.where(np.broadcast_to(trees.box(i), shape), 7, 0).astype(np.float64)
        labels[..., :4, :4] = 1000
        spacing = trees.SPACING if depth else trees.SPACING[:2]
        for name, array in (("flair", image), ("label", labels)):
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing(spacing)
            (tmp_path / f"P{i}").mkdir(exist_ok=True)
            sitk.WriteImage(volume, str(tmp_path / f"P{i}" / f"{name}.nii.gz"))
    folder = convert(tmp_path, labels="0=background,7=lesion,1000=ignore")
    facts = json.loads((folder / "dataset.json").read_text())
    assert facts["labels"] == {"background": 0, "lesion": 1, "ignore": 2}
    assert facts["overwrite_image_reader_writer"] == "SimpleITKIO" and facts["file_ending"] == ".nii.gz"
    for i in range(5):
        read, properties = SimpleITKIO().read_images([str(folder / "imagesTr" / f"P{i}_flair_0000.nii.gz")])
        image = np.random.default_rng(i).normal(0, 300, shape).astype(np.float32)
        np.testing.assert_array_equal(read, image.reshape(1, max(depth, 1), H, W))
        np.testing.assert_allclose(properties["spacing"][1:], trees.SPACING[1::-1], rtol=1e-6)
        labels, _ = SimpleITKIO().read_seg(str(folder / "labelsTr" / f"P{i}_flair.nii.gz"))
        expected = trees.box(i).astype(int)
        expected[:4, :4] = 2
        np.testing.assert_array_equal(labels, np.broadcast_to(expected, (1, max(depth, 1), H, W)))


def test_a_nifti_mask_of_another_geometry(tmp_path, nnunet):
    for i in range(2):
        trees.write_volume(tmp_path / "images" / f"{i}.nii.gz", np.zeros((2, H, W), np.int16))
        spacing = (0.7, 0.8, 3.0) if i else (0.7, 0.9, 3.0)
        trees.write_volume(tmp_path / "masks" / f"{i}.nii.gz", np.stack([trees.box(i)] * 2).astype(np.uint8), spacing)
    with pytest.raises(
        ValueError, match=r"0\.nii\.gz: the mask has spacing 0\.7 0\.9 3 \(x, y, z\), its image 0\.7 0\.8 3"
    ):
        convert((tmp_path / "images", tmp_path / "masks"))
    assert nnunet.content() == []


def plant(root: Path, names: list[tuple[str, str]]) -> Path:
    """Files of these names with the box of their number."""
    for i, (image, mask) in enumerate(names):
        trees.write_image(root / image, i)
        trees.write_mask(root / mask, trees.box(i))
    return root


SPELLINGS = {
    "two trees": ("images/P{p}/{i}.png", "masks/P{p}/{i}_mask.png", "P{p}_{i}"),
    "folders of kinds": ("data/P{p}/images/{i}.png", "data/P{p}/masks/{i}.png", "P{p}_{i}"),
    "kinds first": ("data/img/P{p}/{i}.png", "data/label/P{p}/{i}.png", "P{p}_{i}"),
    "in a folder of images": ("data/images/TC_{p}/{i}.png", "data/images/TC_{p}/{i}_mask.png", "TC_{p}_{i}"),
    "folders tell more": ("data/TC_{p}/images/{i}_gt.png", "data/TC_{p}/masks/{i}_gt.png", "TC_{p}_{i}_gt"),
    "side by side": ("data/TC_{p}/TC_{p}_{i}.tif", "data/TC_{p}/TC_{p}_{i}_mask.tif", "TC_{p}_{i}"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_folder_per_patient_is_the_group(tmp_path, spelling):
    image, mask, id = SPELLINGS[spelling]
    numbers = [{"p": 10 + i // 2, "i": i % 2} for i in range(12)]
    plant(tmp_path, [(image.format(**n), mask.format(**n)) for n in numbers])
    source = (tmp_path / "images", tmp_path / "masks") if spelling == "two trees" else tmp_path / "data"
    folder = convert(source)
    for i, n in enumerate(numbers):
        read = np.asarray(Image.open(folder / "labelsTr" / f"{id.format(**n)}.png"))
        np.testing.assert_array_equal(read, trees.box(i))
    folds = json.loads((folder / "splits_final.json").read_text())
    assert len(folds) == 5
    for fold in folds:
        patients = [{re.sub(r"_\d+(_gt)?$", "", id) for id in fold[part]} for part in ("train", "val")]
        assert patients[0] & patients[1] == set() and patients[1]
    report = json.loads((folder / "conversion_report.json").read_text())
    assert report["options"]["groups"].startswith("6 folders (")


def test_one_image_and_one_mask_in_a_patients_folder(tmp_path):
    folder = convert(plant(tmp_path, [(f"{p}/photo.png", f"{p}/outline_gt.png") for p in "abcdef"]))
    for i, p in enumerate("abcdef"):
        np.testing.assert_array_equal(np.asarray(Image.open(folder / "labelsTr" / f"{p}_photo.png")), trees.box(i))


@pytest.mark.parametrize(
    "image, group, message",
    [
        ("{k}/{i}.png", "^[^/]+", r"the images lie in 2 folders \(benign, malignant\)\. If these are patients"),
        ("{k}/P{i}/a.png", "^[^/]+/([^/]+)", "2 folders .* with folders in them"),
    ],
)
def test_folders_that_may_be_no_patients(tmp_path, nnunet, image, group, message):
    names = [image.format(k=k, i=i) for i in range(4) for k in ("benign", "malignant")]
    plant(tmp_path, [(f"images/{name}", f"masks/{name}") for name in names])
    fed = tmp_path / "images", tmp_path / "masks"
    with pytest.raises(ValueError, match=message) as error:
        convert(fed)
    assert nnunet.content() == []
    assert f"--group-regex '{group}'" in str(error.value) and "--group-regex .+" in str(error.value)
    assert len(json.loads((convert(fed, group_regex=".+") / "splits_final.json").read_text())) == 5
    folds = json.loads((convert(fed, dataset_id=511, group_regex=group) / "splits_final.json").read_text())
    assert len(folds) == (2 if group == "^[^/]+" else 4)


def test_images_at_different_depths(tmp_path, nnunet):
    plant(tmp_path, [("images/a.png", "masks/a.png"), ("images/P1/b.png", "masks/P1/b.png")])
    with pytest.raises(ValueError, match=r"images lie at different depths, such as P1/b\.png and a\.png"):
        convert((tmp_path / "images", tmp_path / "masks"))
    assert nnunet.content() == []


def test_names_that_do_not_belong_together(tmp_path, nnunet):
    plant(tmp_path, [(f"images/case{i}.png", f"masks/outline{i}.png") for i in range(3)])
    message = r"images/case0\.png: an image without a mask, .* expected case0 or case0_mask .* such as outline0\.png"
    with pytest.raises(ValueError, match=message):
        convert((tmp_path / "images", tmp_path / "masks"))
    assert nnunet.content() == []


def test_a_tree_without_masks(tmp_path, nnunet):
    trees.write_image(tmp_path / "data" / "images" / "a.png")
    with pytest.raises(ValueError, match=r"data: holds no masks, told by .* give the folder they are in with --masks"):
        convert(tmp_path / "data")
    assert nnunet.content() == []


def test_ids_that_would_be_the_same(tmp_path, nnunet):
    names = [f"{p}/x.png" for p in "abcde"] + ["a_x/a_x.png"]  # a/x and a_x/a_x are both a_x
    plant(tmp_path, [(f"images/{name}", f"masks/{name}") for name in names])
    with pytest.raises(ValueError, match=r"the id a_x occurs 2 times: .*images/a/x\.png, .*images/a_x/a_x\.png"):
        convert((tmp_path / "images", tmp_path / "masks"))
    assert nnunet.content() == []
