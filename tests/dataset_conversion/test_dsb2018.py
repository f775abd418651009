"""DSB2018 from its official layouts: unions, borders, run lengths, strata, and each bad input."""

import json
import shutil
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import dataset_trees as trees
from helpers.dataset_trees import nuclei
from nnunet_mamba import dataset_conversion
from nnunet_mamba.dataset_conversion.formats.instances import join_nuclei
from nnunet_mamba.dataset_conversion.formats.run_lengths import decode

convert = partial(dataset_conversion.convert, "DSB2018")
REAL = Path(__file__).parents[3] / "shared" / "data" / "data-science-bowl-2018"
HEADER = "ImageId,EncodedPixels,Height,Width,Usage\n"


def run_lengths(mask: np.ndarray) -> str:
    """An encoder of its own: runs down the columns, counted from 1, and none across two columns."""
    runs = []
    for column in range(mask.shape[1]):
        rows = np.flatnonzero(mask[:, column])
        if len(rows):
            runs += [column * len(mask) + rows[0] + 1, len(rows)]
    return " ".join(map(str, runs))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """stage1_train only."""
    return trees.dsb2018(tmp_path / "source")


@pytest.fixture
def with_test(source: Path) -> Path:
    """stage1_test with its solution beside stage1_train."""
    rows = []
    for id in ("b1", "b2"):
        trees.dsb2018_case(source / "stage1_test", id, masks=False)
        rows += [f"{id},{run_lengths(mask)},24,32,Private\n" for mask in nuclei((24, 32))]
    (source / "stage1_solution.csv").write_text("\ufeff" + HEADER + "".join(rows), encoding="utf-8")
    return source


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize("place", [".", "stage1_train"])
def test_union_of_the_masks(source, place):
    folder = convert(source / place, 502)
    labels = sorted((folder / "labelsTr").iterdir())
    assert len(labels) == 11
    expected = np.maximum.reduce(nuclei((24, 32)))
    np.testing.assert_array_equal(pixels(labels[0]), expected)
    image = Image.open(folder / "imagesTr" / f"{labels[3].stem}_0000.png")
    assert (image.mode, image.size) == ("RGB", (32, 24))
    dataset = load(folder / "dataset.json")
    assert dataset["labels"] == {"background": 0, "nucleus": 1}
    assert dataset["channel_names"] == {"0": "R", "1": "G", "2": "B"}


def kaggles_zips(source: Path, folder: Path) -> Path:
    """Each part in a zip of its own, with its ids at the top; stage 2 has thousands of images that nobody asks for."""
    folder.mkdir(parents=True)
    for part in ("stage1_train", "stage1_test"):
        trees.zip_folder(source / part, folder / f"{part}.zip", ".png")
    with zipfile.ZipFile(folder / "stage1_solution.csv.zip", "w") as archive:
        archive.write(source / "stage1_solution.csv", "stage1_solution.csv")
    (folder / "stage2_test_final.zip").write_bytes(b"not read")
    return folder


@pytest.mark.parametrize("layout", ["folder", "zip", "zip_of_a_folder", "csv_unpacked"])
def test_zips_as_kaggle_gives_them(with_test, tmp_path, nnunet, layout):
    zips = kaggles_zips(with_test, tmp_path / "zips" / "bowl" if layout == "zip_of_a_folder" else tmp_path / "zips")
    if layout == "csv_unpacked":
        (zips / "stage1_solution.csv.zip").unlink()
        shutil.copy(with_test / "stage1_solution.csv", zips)
    packed = layout.startswith("zip")
    given = trees.zip_folder(tmp_path / "zips", tmp_path / "data-science-bowl-2018.zip") if packed else zips
    expected, found = convert(with_test, 502), convert(given, 503)
    assert {path.relative_to(found): path.read_bytes() for path in found.rglob("*") if path.is_file()} == {
        path.relative_to(expected): path.read_bytes() for path in expected.rglob("*") if path.is_file()
    }
    assert sorted(path.name for path in nnunet.raw.iterdir()) == ["Dataset502_DSB2018", "Dataset503_DSB2018"]


def test_a_broken_inner_zip_is_named(with_test, tmp_path, nnunet):
    zips = kaggles_zips(with_test, tmp_path / "zips")
    content = bytearray((zips / "stage1_train.zip").read_bytes())
    content[200:300] = bytes(100)
    (zips / "stage1_train.zip").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "bowl.zip", "w") as archive:
        archive.write(zips / "stage1_train.zip", "stage1_train.zip")
    for given, name in ((zips, "zips"), (tmp_path / "bowl.zip", r"bowl\.zip")):
        with pytest.raises(ValueError, match=rf"{name}/stage1_train\.zip: broken or unsupported zip"):
            convert(given, 502)
    assert nnunet.content() == []


def test_among_several_data_sets(source, tmp_path, nnunet):
    """Kvasir-SEG is a folder with `images` and `masks`, as a case of DSB2018 is."""
    trees.kvasir(source)
    trees.merged(source)
    assert load(convert(source, 502) / "conversion_report.json")["cases"]["training"] == 11
    shutil.rmtree(source / "stage1_train")
    with pytest.raises(ValueError, match=r"not the layout of DSB2018; .* found Kvasir-SEG, Lung Segmentation"):
        convert(source, 503)


def test_zip_and_processes_give_the_same_bytes(source, tmp_path):
    archive = trees.zip_folder(
        source / "stage1_train", tmp_path / "stage1_train.zip", ".png"
    )  # Kaggle's: ids at the top
    folders = convert(source, 502, border=True, processes=2), convert(archive, 503, border=True)
    first, second = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_folds_are_balanced_over_modality_and_size(source):
    folder = convert(source, 502, test=2)
    report = load(folder / "conversion_report.json")
    strata = report["strata"]
    assert {name: counts["training"] + counts["test"] for name, counts in strata.items()} == {
        "grey dark 24x32": 6,
        "coloured bright 26x30": 5,
    }
    assert [counts["test"] for counts in strata.values()] == [1, 1]
    for counts in strata.values():
        assert max(counts["val"]) - min(counts["val"]) <= 1 and sum(counts["val"]) == counts["training"]


@pytest.mark.parametrize("solution", [True, False])
def test_stage1_test(with_test, solution):
    if not solution:
        (with_test / "stage1_solution.csv").unlink()
    folder = convert(with_test, 502)
    assert sorted(p.name for p in (folder / "imagesTs").iterdir()) == ["b1_0000.png", "b2_0000.png"]
    assert (folder / "labelsTs").is_dir() == solution
    assert load(folder / "dataset.json")["numTraining"] == 11
    assert all("b1" not in fold["train"] + fold["val"] for fold in load(folder / "splits_final.json"))
    assert load(folder / "conversion_report.json")["without_labels"] == ([] if solution else ["b1", "b2"])
    if solution:
        np.testing.assert_array_equal(pixels(folder / "labelsTs" / "b1.png"), np.maximum.reduce(nuclei((24, 32))))


def test_solution_without_its_images_is_reported_and_no_error(with_test, capsys):
    shutil.rmtree(with_test / "stage1_test")
    folder = convert(with_test, 502)
    assert [case["reason"] for case in load(folder / "conversion_report.json")["not_used"]] == [
        "stage1_solution.csv: run lengths of stage1_test, which is not beside it"
    ]
    assert "1, as published" in capsys.readouterr().out


@pytest.mark.parametrize(
    "boxes, border",
    [
        (((0, 0, 3, 3), (3, 0, 6, 3)), {2, 3}),  # they touch: the rim of each
        (((0, 0, 3, 3), (4, 0, 7, 3)), {3}),  # a pixel between: that pixel
        (((0, 0, 3, 3), (5, 0, 8, 3)), set()),
        (((0, 0, 4, 3), (3, 0, 7, 3)), {2, 3, 4}),  # they share a row
    ],
)
def test_border_between_two(boxes, border):
    labels = join_nuclei(nuclei((9, 3), boxes), (9, 3), border=True)
    assert set(np.flatnonzero((labels == 2).all(axis=1))) == border
    assert not (labels == 2)[[row for row in range(9) if row not in border]].any()
    np.testing.assert_array_equal(
        join_nuclei(nuclei((9, 3), boxes), (9, 3), border=False), np.maximum.reduce(nuclei((9, 3), boxes))
    )


def test_border_is_a_class_of_the_data_set(source):
    folder = convert(source, 502, border=True)
    assert load(folder / "dataset.json")["labels"] == {"background": 0, "nucleus": 1, "border": 2}
    labels = pixels(folder / "labelsTr" / f"00{'a' * 62}.png")
    assert set(np.flatnonzero((labels == 2).any(axis=1))) == {7, 8}
    assert set(np.unique(labels[18:22, 20:30])) == {1}


@pytest.mark.parametrize(
    "runs, pixels_set",
    [
        ("1 3", {(0, 0), (1, 0), (2, 0)}),
        ("4 2", {(3, 0), (0, 1)}),
        ("12 1", {(3, 2)}),
        ("1 2 2 2", {(0, 0), (1, 0), (2, 0)}),
        ("", set()),
    ],
)
def test_run_lengths_count_from_one_down_the_columns(runs, pixels_set):
    assert {
        tuple(map(int, where)) for where in np.argwhere(decode(Path("s.csv"), (4, 3), 2, runs, "4", "3"))
    } == pixels_set


def test_paper_protocol_resamples_and_keeps_the_folds(source):
    folder = convert(source, 502, protocol="paper")
    assert load(folder / "conversion_report.json")["written_sizes"] == {"256x256": 11}
    assert sorted(len(fold["val"]) for fold in load(folder / "splits_final.json")) == [2, 2, 2, 2, 3]


def truncated_image(place: Path) -> None:
    path = next((place / "images").iterdir())
    path.write_bytes(path.read_bytes()[:60])


def truncated_mask(place: Path) -> None:
    path = sorted((place / "masks").iterdir())[1]
    path.write_bytes(path.read_bytes()[:50])


def mask_of_another_size(place: Path) -> None:
    Image.fromarray(np.zeros((24, 30), np.uint8)).save(place / "masks" / "z.png")


def photograph_for_mask(place: Path) -> None:
    Image.fromarray(np.full((24, 32), 128, np.uint8) + np.eye(24, 32, dtype=np.uint8)).save(place / "masks" / "z.png")


def no_masks(place: Path) -> None:
    shutil.rmtree(place / "masks")


def empty_masks_folder(place: Path) -> None:
    no_masks(place)
    (place / "masks").mkdir()


def two_images(place: Path) -> None:
    path = next((place / "images").iterdir())
    shutil.copy(path, path.with_name("copy.png"))


def no_image(place: Path) -> None:
    shutil.rmtree(place / "images")


def nothing(place: Path) -> None:
    no_image(place)
    no_masks(place)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (truncated_image, r"bad\.png: cannot be read as an image"),
        (truncated_mask, r"1bad\.png: cannot be read as an image"),
        (mask_of_another_size, r"z\.png: the mask has 24x30 pixels \(H x W\), its image bad\.png 24x32"),
        (photograph_for_mask, r"z\.png: not a mask"),
        (no_masks, r"bad\.png: an image without a mask"),
        (empty_masks_folder, r"bad\.png: an image without a mask"),
        (two_images, r"bad has 2 images: .*bad\.png, .*copy\.png"),
        (no_image, r"bad.masks: a mask without an image"),
        (nothing, r"bad: holds neither an image nor masks"),
    ],
)
def test_bad_case(source, nnunet, spoil, message):
    spoil(trees.dsb2018_case(source / "stage1_train", "bad"))
    with pytest.raises(ValueError, match=message):
        convert(source, 502)
    assert nnunet.content() == []
    folder = convert(source, 502, skip_bad=True)
    assert load(folder / "conversion_report.json")["cases"] == {"training": 11, "test": 0, "skipped": 1}


@pytest.mark.parametrize(
    "rows, message",
    [
        ("b1,1 3 5,24,32,\n", r"stage1_solution\.csv, line 2: a start without a length; 3 numbers"),
        ("b1,0 3,24,32,\n", r"line 2: runs leave the 24x32 image; starts count from 1"),
        ("b1,767 3,24,32,\n", r"line 2: runs leave the 24x32 image"),
        ("b1,1 0,24,32,\n", r"line 2: runs leave"),
        ("b1,1 x,24,32,\n", r"line 2: run lengths must be whole numbers"),
        ("b1,1 3,32,24,\n", r"line 2: the mask has 32x24 pixels \(H x W\), its image 24x32"),
        ("", r"stage1_solution\.csv: no row for .*b1\.png"),
        ("b1,1 3,24,32,\nb3,1 3,24,32,\n", r"rows for b3, which has no folder in .*stage1_test"),
    ],
)
def test_bad_solution(with_test, nnunet, rows, message):
    (with_test / "stage1_solution.csv").write_text(HEADER + rows + "b2,1 3,24,32,\n")
    with pytest.raises(ValueError, match=message):
        convert(with_test, 502)
    assert nnunet.content() == []
    assert load(convert(with_test, 502, skip_bad=True) / "conversion_report.json")["cases"]["skipped"] == 1


@pytest.mark.parametrize(
    "content, message",
    [("a,b\n", "no column ImageId, EncodedPixels, Height, Width; found a, b"), ("", "found nothing")],
)
def test_table_of_other_columns(with_test, nnunet, content, message):
    (with_test / "stage1_solution.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        convert(with_test, 502, skip_bad=True)
    assert nnunet.content() == []


def unpacked_halfway(source: Path) -> None:
    shutil.rmtree(source / "stage1_train")
    (source / "stage1_train.zip").write_bytes(b"")


def two_trees(source: Path) -> None:
    shutil.copytree(source / "stage1_train", source / "stage1_train_fixed")


def test_only(source: Path) -> None:
    (source / "stage1_train").rename(source / "stage1_test")


test_only.__test__ = False


@pytest.mark.parametrize(
    "spoil, message",
    [
        (unpacked_halfway, r"not the layout of DSB2018; expected stage1_train/<id>/.*; unpack stage1_train\.zip first"),
        (two_trees, r"holds 2 DSB2018 trees \(.*stage1_train, .*stage1_train_fixed\)"),
        (test_only, r"holds stage1_test only; expected stage1_train"),
    ],
)
def test_bad_source(source, nnunet, spoil, message):
    spoil(source)
    with pytest.raises(ValueError, match=message):
        convert(source, 502)
    assert nnunet.content() == []


def test_real_cases(nnunet):
    if not REAL.is_dir():
        pytest.skip("no real DSB2018 cases beside the repository")
    folder = convert(REAL, 502, size=(128, 128))
    report = load(folder / "conversion_report.json")
    assert report["cases"]["skipped"] == 0 and report["empty_masks"] == []
    for counts in report["strata"].values():
        assert max(counts["val"]) - min(counts["val"]) <= 1
    # In the dark images nuclei shine: were images and masks mismatched, this would not hold.
    brighter = []
    for case in report["written"]:
        image = pixels(folder / "imagesTr" / f"{case['case']}_0000.png")
        labels = pixels(folder / "labelsTr" / f"{case['case']}.png") > 0
        if np.median(image) < 60 and labels.any():
            brighter.append(image[labels].mean() > image[~labels].mean())
    assert np.mean(brighter) > 0.98
