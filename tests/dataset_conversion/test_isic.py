"""ISIC 2017 and 2018: official validation and test, superpixels, and folders that some programs nest."""

import json
from pathlib import Path

import pytest

from helpers import dataset_trees as trees
from nnunet_mamba.dataset_conversion import convert

YEARS = pytest.mark.parametrize(
    "name, plant", [("ISIC2017", trees.isic_2017), ("ISIC2018", trees.isic_2018)], ids=[2017, 2018]
)


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@YEARS
def test_official_validation_and_test(tmp_path, name, plant):
    folder = convert(name, plant(tmp_path), 505)
    assert names(folder / "labelsTr") == [f"ISIC_000000{i}.png" for i in range(6)]
    assert names(folder / "imagesTs") == [f"ISIC_{i:07d}_0000.png" for i in range(6, 11)]
    labelled = range(6, 11) if name == "ISIC2017" else range(8, 11)  # the tree has no masks of 2018's validation
    assert names(folder / "labelsTs") == [f"ISIC_{i:07d}.png" for i in labelled]
    strata = load(folder / "conversion_report.json")["strata"]
    assert {name: counts["test"] for name, counts in strata.items()} == {"training": 0, "validation": 2, "test": 3}
    folds = load(folder / "splits_final.json")
    assert sorted(id for fold in folds for id in fold["val"]) == [f"ISIC_000000{i}" for i in range(6)]


@YEARS
def test_training_only(tmp_path, name, plant):
    source = plant(tmp_path)
    for path in source.iterdir():
        if "Training" not in path.name:
            path.rename(tmp_path / path.name)
    folder = convert(name, source, 505)
    assert names(folder / "labelsTr") == [f"ISIC_000000{i}.png" for i in range(6)]
    assert not (folder / "imagesTs").exists()


@YEARS
def test_a_test_image_without_a_mask_where_others_have_one(tmp_path, nnunet, name, plant):
    source = plant(tmp_path)
    next(source.glob("*Test*GroundTruth/ISIC_0000009_segmentation.png")).unlink()
    with pytest.raises(ValueError, match=r"ISIC_0000009\.jpg: an image without a mask"):
        convert(name, source, 505)
    assert nnunet.content() == []


@YEARS
def test_a_folder_within_a_folder_of_its_name(tmp_path, name, plant):
    source = plant(tmp_path)
    for path in sorted(source.glob("*Training*")):
        path.rename(tmp_path / "moved")
        path.mkdir()
        (tmp_path / "moved").rename(path / path.name)
    assert load(convert(name, source, 505) / "dataset.json")["numTraining"] == 6


@pytest.mark.parametrize(
    "name, plant, year, folder",
    [
        ("ISIC2017", trees.isic_2018, 2017, "ISIC-2017_Training_Data"),
        ("ISIC2018", trees.isic_2017, 2018, "ISIC2018_Task1-2_Training_Input"),
    ],
)
def test_the_other_year(tmp_path, nnunet, name, plant, year, folder):
    with pytest.raises(ValueError, match=rf"not the layout of ISIC {year}; expected ISIC.*; found ISIC") as error:
        convert(name, plant(tmp_path), 505)
    assert folder in str(error.value)
    assert nnunet.content() == []


def test_one_image_in_two_parts(tmp_path, nnunet):
    source = trees.isic_2018(tmp_path)
    image = trees.write_image(source / "ISIC2018_Task1-2_Validation_Input" / "ISIC_0000000.jpg")
    with pytest.raises(ValueError, match="the id ISIC_0000000 occurs 2 times") as error:
        convert("ISIC2018", source, 506)
    assert str(image) in str(error.value) and nnunet.content() == []
