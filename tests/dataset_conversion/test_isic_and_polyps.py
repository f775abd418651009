"""ISIC 2017 and 2018, Kvasir-SEG and CVC-ClinicDB from trees in their layouts, and each bad input."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from nnunet_mamba.dataset_conversion.registry import find_converter

SIZE = (20, 28)


def pixels(seed, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def mask(size=SIZE):
    values = np.zeros(size, np.uint8)
    values[4:15, 5:20] = 255
    return values


def save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path, **options)


def isic_part(root, images, masks, numbers):
    for number in numbers:
        save(root / images / f"ISIC_{number:07}.jpg", pixels(number))
        if masks:
            save(root / masks / f"ISIC_{number:07}_segmentation.png", mask())


@pytest.fixture
def isic2018(tmp_path):
    root = tmp_path / "ISIC2018"
    isic_part(root, "ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth", range(7))
    isic_part(root, "ISIC2018_Task1-2_Validation_Input", "ISIC2018_Task1_Validation_GroundTruth", range(20, 22))
    isic_part(root, "ISIC2018_Task1-2_Test_Input", None, range(30, 32))
    (root / "ISIC2018_Task1-2_Training_Input" / "LICENSE.txt").write_text("CC BY-NC")
    return root


@pytest.fixture
def isic2017(tmp_path):
    """With superpixels and a table, and a part that unpacked into a folder of its own name inside its folder."""
    root = tmp_path / "ISIC2017"
    isic_part(root, "ISIC-2017_Training_Data/ISIC-2017_Training_Data", "ISIC-2017_Training_Part1_GroundTruth", range(6))
    isic_part(root, "ISIC-2017_Test_v2_Data", "ISIC-2017_Test_v2_Part1_GroundTruth", range(20, 22))
    inner = root / "ISIC-2017_Training_Data" / "ISIC-2017_Training_Data"
    save(inner / "ISIC_0000000_superpixels.png", pixels(0))
    (inner / "ISIC-2017_Training_Data_metadata.csv").write_text("image_id,age\n")
    return root


@pytest.fixture
def kvasir(tmp_path):
    root = tmp_path / "source" / "Kvasir-SEG"
    for i in range(6):
        save(root / "images" / f"cju{i}.jpg", pixels(i))
        save(root / "masks" / f"cju{i}.jpg", np.repeat(mask()[..., None], 3, 2), quality=60)
    (root / "kavsir_bboxes.json").write_text("{}")
    return root.parent


@pytest.fixture
def clinicdb(tmp_path):
    root = tmp_path / "source" / "CVC-ClinicDB"
    for frame in (1, 2, 25, 26, 27, 51, 68, 79, 104, 612):
        save(root / "Original" / f"{frame}.tif", pixels(frame))
        save(root / "Ground Truth" / f"{frame}.tif", mask())
    return root.parent


def convert(name, source, **options):
    return find_converter(name).convert(source, 511, **options)


def cases(folder, kind):
    return sorted(path.name.removesuffix(".png").removesuffix("_0000") for path in (folder / kind).iterdir())


def folds(folder):
    return json.loads((folder / "splits_final.json").read_text())


def test_isic_2018_validation_and_test_are_apart(isic2018):
    folder = convert("ISIC2018", isic2018)
    assert folder.name == "Dataset511_ISIC2018"
    assert cases(folder, "labelsTr") == [f"ISIC_{n:07}" for n in range(7)]
    assert cases(folder, "imagesTs") == [f"ISIC_{n:07}" for n in (20, 21, 30, 31)]
    assert cases(folder, "labelsTs") == [f"ISIC_{n:07}" for n in (20, 21)]
    assert {case for fold in folds(folder) for case in fold["val"]} == set(cases(folder, "labelsTr"))


def test_isic_2017_leaves_superpixels_alone(isic2017):
    folder = convert("isic-2017", isic2017)
    assert cases(folder, "imagesTr") == [f"ISIC_{n:07}" for n in range(6)]
    assert cases(folder, "labelsTs") == [f"ISIC_{n:07}" for n in (20, 21)]
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "labelsTr" / "ISIC_0000000.png")), mask() // 255)


def test_masks_of_lossy_jpeg_become_two_values(kvasir):
    folder = convert("kvasir-seg", kvasir)
    labels = np.asarray(Image.open(folder / "labelsTr" / "cju0.png"))
    assert set(np.unique(labels)) == {0, 1} and np.mean(labels != mask() // 255) < 0.02


def test_videos_stay_together(clinicdb):
    folder = convert("CVC-ClinicDB", clinicdb)
    of_case = {case: i for i, fold in enumerate(folds(folder)) for case in fold["val"]}
    assert of_case["ClinicDB_001"] == of_case["ClinicDB_002"] == of_case["ClinicDB_025"]
    assert of_case["ClinicDB_026"] == of_case["ClinicDB_027"]
    assert len(of_case) == 10


@pytest.mark.parametrize(
    ("frame", "video"), [(1, 1), (25, 1), (26, 2), (199, 9), (200, 10), (205, 10), (206, 11), (591, 28), (592, 29), (612, 29)]
)
def test_frames_belong_to_their_videos(clinicdb, frame, video):
    root = clinicdb / "CVC-ClinicDB"
    for name, values in (("Original", pixels(frame)), ("Ground Truth", mask())):
        save(root / name / f"{frame}.tif", values)
    found = {case.id: case.group for case in find_converter("CVC-ClinicDB").CLINICDB.find_cases(clinicdb)[0]}
    assert found[f"ClinicDB_{frame:03}"] == f"video{video:02}"


def test_png_copies_of_clinicdb(clinicdb):
    for path in list(clinicdb.rglob("*.tif")):
        Image.open(path).save(path.with_suffix(".png"))
        path.unlink()
    assert len(cases(convert("CVC-ClinicDB", clinicdb), "labelsTr")) == 10


@pytest.mark.parametrize("name", ["isic2017", "isic2018", "kvasir", "clinicdb"])
def test_a_zip_gives_what_the_folder_gives(name, request, tmp_path, nnunet):
    source = request.getfixturevalue(name)
    converter = {"kvasir": "Kvasir-SEG", "clinicdb": "CVC-ClinicDB"}.get(name, name)
    first = convert(converter, source)
    kept = {p.relative_to(first): p.read_bytes() for p in first.rglob("*") if p.suffix == ".png"}
    for base in (nnunet.raw, nnunet.preprocessed):
        shutil.rmtree(base / first.name)
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in source.rglob("*"):
            packed.write(path, path.relative_to(source.parent))
    again = convert(converter, archive)
    assert {p.relative_to(again): p.read_bytes() for p in again.rglob("*") if p.suffix == ".png"} == kept


TRAINING = "ISIC2018_Task1-2_Training_Input"
TRUTH = "ISIC2018_Task1_Training_GroundTruth"


def drop(*names):
    def spoil(source):
        source.joinpath(*names).unlink()

    return spoil


def truncate(*names):
    def spoil(source):
        path = source.joinpath(*names)
        path.write_bytes(path.read_bytes()[:400])

    return spoil


def rename(old, new):
    return lambda source: (source / old).rename(source / new)


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("isic2018", drop(TRUTH, "ISIC_0000003_segmentation.png"), r"ISIC_0000003\.jpg: an image without a mask"),
        ("isic2018", drop(TRAINING, "ISIC_0000003.jpg"), r"ISIC_0000003_segmentation\.png: a mask without an image"),
        ("isic2018", truncate(TRAINING, "ISIC_0000003.jpg"), r"ISIC_0000003\.jpg: cannot be read as an image"),
        ("isic2018", rename(TRAINING, "Images"), "not the layout of ISIC2018; expected ISIC2018_Task1-2_Training_Input"),
        (
            "isic2018",
            lambda s: save(s / TRUTH / "ISIC_0000003_segmentation.png", mask((9, 9))),
            r"the mask has 9x9 pixels \(H x W\), its image ISIC_0000003\.jpg 20x28",
        ),
        ("isic2017", rename("ISIC-2017_Training_Part1_GroundTruth", "GT"), "not the layout of ISIC2017"),
        ("kvasir", drop("Kvasir-SEG", "masks", "cju2.jpg"), r"cju2\.jpg: an image without a mask"),
        ("kvasir", rename("Kvasir-SEG/masks", "Kvasir-SEG/m"), "not the layout of Kvasir-SEG; expected .*, found Kvasir-SEG"),
        ("kvasir", lambda s: save(s / "Kvasir-SEG/masks/cju2.jpg", pixels(3)), r"cju2\.jpg: not a mask"),
        ("clinicdb", drop("CVC-ClinicDB", "Original", "26.tif"), r"26\.tif: a mask without an image"),
        ("clinicdb", rename("CVC-ClinicDB/Original", "CVC-ClinicDB/o"), "not the layout of CVC-ClinicDB"),
        (
            "clinicdb",
            lambda s: [save(s / "CVC-ClinicDB" / n / "613.tif", v) for n, v in (("Original", pixels(1)), ("Ground Truth", mask()))],
            r"613\.tif: the videos' frames are 1 to 612",
        ),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(name, spoil, message, request, nnunet):
    source = request.getfixturevalue(name)
    spoil(source)
    before = nnunet.content()
    with pytest.raises(ValueError, match=message):
        convert({"kvasir": "Kvasir-SEG", "clinicdb": "CVC-ClinicDB"}.get(name, name), source)
    assert nnunet.content() == before
