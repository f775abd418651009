"""What holds for every data set: labels, folds, reruns, zips, sizes, and bad input."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from helpers import dataset_trees as trees
from nnunet_mamba.dataset_conversion.pipeline.registry import find_dataset


def each(data_sets):
    return pytest.mark.parametrize("data_set", data_sets, ids=lambda data_set: data_set.id)


ALL = each((*trees.DATA_SETS, *trees.MANY_MASKS))
ONE_MASK = each(trees.DATA_SETS)  # one mask file per image
WITHOUT_PROTOCOL = each([one for one in trees.DATA_SETS if find_dataset(one.name).paper is None])
FOUND_IN_A_TREE = each([one for one in (*trees.DATA_SETS, *trees.MANY_MASKS) if one.name != "generic"])


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def read(path: Path) -> np.ndarray:
    if path.suffix == ".gz":
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return np.asarray(Image.open(path))


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@ALL
def test_labels_lie_on_their_images(data_set, tmp_path):
    folder = data_set.convert(data_set.plant(tmp_path))
    report = load(folder / "conversion_report.json")
    assert report["cases"] == {"training": data_set.training, "test": data_set.test, "skipped": 0}
    labels = sorted((folder / "labelsTr").iterdir())
    assert len(labels) == len(list((folder / "imagesTr").iterdir())) == data_set.training
    ending = load(folder / "dataset.json")["file_ending"]
    for label in labels:
        image = read(folder / "imagesTr" / label.name.replace(ending, f"_0000{ending}")).astype(float)
        if image.ndim == 3 and ending == ".png":
            image = image.mean(axis=2)
        bright = image > (image.max() + image.min()) / 2
        found = read(label) > 0
        overlap = 2 * (bright & found).sum() / (bright.sum() + found.sum())
        dark_overlap = 2 * (~bright & found).sum() / ((~bright).sum() + found.sum())
        within = (bright & found).sum() / found.sum()
        assert (
            overlap > 0.9 or data_set.name == "DSB2018" and dark_overlap > 0.9 or ending == ".nii.gz" and within > 0.9
        )
    folds = load(folder / "splits_final.json")
    assert sorted(id for fold in folds for id in fold["val"]) == [label.name.removesuffix(ending) for label in labels]
    assert Image.open(folder / "contact_sheet.png").width == 1120


@ALL
def test_rerun_and_processes_give_the_same_bytes(data_set, tmp_path):
    source = data_set.plant(tmp_path)
    first = bytes_below(data_set.convert(source, seed=3))
    again = bytes_below(data_set.convert(source, dataset_id=502, seed=3, processes=2))
    assert first.keys() == again.keys()
    assert [name for name in first if first[name] != again[name]] == []


@ALL
def test_a_zip_gives_the_same_bytes(data_set, tmp_path):
    source = data_set.plant(tmp_path / "tree")
    zips = [trees.zip_folder(part, tmp_path / f"{i}.zip") for i, part in enumerate(data_set.feed(source))]
    first = bytes_below(data_set.convert(source))
    assert first == bytes_below(data_set.convert(zips, dataset_id=502))


@ALL
def test_sizes_are_set(data_set, tmp_path):
    folder = data_set.convert(data_set.plant(tmp_path), size=(12, 20))
    assert {size.removeprefix("4x") for size in load(folder / "conversion_report.json")["written_sizes"]} == {"12x20"}


def truncate(image: Path, mask: Path) -> None:
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])


def truncate_mask(image: Path, mask: Path) -> None:
    mask.write_bytes(mask.read_bytes()[: mask.stat().st_size // 2])


def mask_of_another_size(image: Path, mask: Path) -> None:
    if mask.suffix == ".gz":
        trees.write_volume(mask, np.zeros((4, 24, 30), np.uint8))
    else:
        trees.write_mask(mask, trees.box(size=(24, 30)))


def no_image(image: Path, mask: Path) -> None:
    image.unlink()


@pytest.mark.parametrize(
    "spoil, which, message",
    [
        (truncate, "image", "cannot be read"),
        (truncate_mask, "mask", "cannot be read"),
        (mask_of_another_size, "mask", r"the mask has (4x)?24x30 pixels"),
        (no_image, "mask", "a mask without an image"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@ONE_MASK
def test_bad_case(data_set, tmp_path, nnunet, spoil, which, message):
    source = data_set.plant(tmp_path)
    image, mask = source / data_set.image, source / data_set.mask
    spoil(image, mask)
    with pytest.raises(ValueError, match=message) as error:
        data_set.convert(source)
    assert str({"image": image, "mask": mask}[which]) in str(error.value) and "--skip-bad" in str(error.value)
    assert nnunet.content() == []
    folder = data_set.convert(source, skip_bad=True)
    report = load(folder / "conversion_report.json")
    assert report["cases"]["training"] == data_set.training - 1 and report["cases"]["skipped"] == 1
    assert Path({"image": data_set.image, "mask": data_set.mask}[which]).name in report["skipped"][0]["reason"]


@pytest.mark.parametrize(
    "name, message",
    [
        ("missing", "missing: no such folder or zip"),
        ("empty", "empty: the folder is empty"),
        ("broken.zip", r"broken\.zip: neither a folder nor a readable zip"),
    ],
)
@ALL
def test_bad_source(data_set, tmp_path, nnunet, name, message):
    fed = data_set.feed(data_set.plant(tmp_path / "tree"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4")
    for i in range(len(fed)):
        with pytest.raises(ValueError, match=message):
            data_set.convert([*fed[:i], tmp_path / name, *fed[i + 1 :]])
    assert nnunet.content() == []


@ALL
def test_an_unknown_layout_names_the_known_ones(data_set, tmp_path, nnunet):
    other = tmp_path / "other"
    for folder in ("photos", "outlines"):
        trees.write_image(other / folder / "a.png")
    with pytest.raises(ValueError, match=r"other: .*outlines, photos") as error:
        data_set.convert([other])
    assert data_set.name == "generic" or "expected" in str(error.value)
    assert nnunet.content() == []


@ALL
def test_unsafe_zip(data_set, tmp_path, nnunet):
    source = data_set.plant(tmp_path / "tree")
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("../evil.png", b"x")
    fed = data_set.feed(source)
    with pytest.raises(ValueError, match=r"s\.zip: unsafe zip, entry '\.\./evil\.png' leaves the folder"):
        data_set.convert([tmp_path / "s.zip", *fed[1:]])
    assert nnunet.content() == []


@ALL
def test_an_id_in_use_is_refused(data_set, tmp_path, nnunet):
    source = data_set.plant(tmp_path)
    (nnunet.raw / "Dataset501_Other").mkdir()
    with pytest.raises(ValueError, match="-d 501 is in use"):
        data_set.convert(source)


@WITHOUT_PROTOCOL
def test_sets_without_a_protocol_say_so(data_set, tmp_path, nnunet):
    with pytest.raises(ValueError, match="--protocol paper: no paper gives one"):
        data_set.convert(data_set.plant(tmp_path), protocol="paper")
    assert nnunet.content() == []


@FOUND_IN_A_TREE
def test_deep_folders_are_found(data_set, tmp_path):
    source = data_set.plant(tmp_path / "a")
    (tmp_path / "b" / "download").mkdir(parents=True)
    shutil.move(source, tmp_path / "b" / "download")
    folder = data_set.convert(tmp_path / "b")
    assert load(folder / "dataset.json")["numTraining"] == data_set.training
