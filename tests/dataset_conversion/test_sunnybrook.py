"""Sunnybrook from each layout to slices and stacks that keep their position in the patient, and each bad input."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from helpers import sunnybrook_trees as trees
from helpers.dataset_trees import zip_folder
from nnunet_mamba import dataset_conversion
from nnunet_mamba.dataset_conversion.formats.contours import fill_contour
from nnunet_mamba.dataset_conversion.formats.dicom import read_slice

convert = partial(dataset_conversion.convert, "Sunnybrook")
REAL = Path(__file__).parents[3] / "shared" / "data" / "Sunnybrook"
LAYOUTS = {
    "a": trees.layout_a,
    "a_without_level": lambda root: trees.layout_a(root, level="."),
    "b": trees.layout_b,
    "c": trees.layout_c,
    "d": trees.layout_d,
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Layout A."""
    return trees.layout_a(tmp_path / "source")


@pytest.fixture
def images(source: Path) -> Path:
    """The short-axis series of SC-HF-I-01."""
    return source / "SCD_IMAGES_01" / "SCD0000101" / "CINESAX_300"


@pytest.fixture
def contours(source: Path) -> Path:
    """The contours of SC-HF-I-01."""
    return source / "SCD_ManualContours" / "SC-HF-I-01" / "contours-manual" / "IRCCI-expert"


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def pixels(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def cases(folder: Path, part: str = "Tr") -> list[str]:
    return sorted(path.name.removesuffix(".nii.gz") for path in (folder / f"labels{part}").iterdir())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_cases(tmp_path, layout):
    folder = convert(LAYOUTS[layout](tmp_path / layout), 503)
    assert cases(folder) == sorted(f"{id}_{number:04d}" for id in trees.IDS for number in (2, 4, 6, 8, 10, 12))
    assert pixels(folder / "imagesTr" / "SC-HYP-06_0004_0000.nii.gz").max() == 900  # not the other series
    for fold in load(folder / "splits_final.json"):
        patients = [{id.rpartition("_")[0] for id in fold[part]} for part in ("train", "val")]
        assert patients[0].isdisjoint(patients[1]) and len(patients[1]) == 1


def test_a_slice_keeps_its_position_and_its_16_bits(source, images):
    folder = convert(source, 503)
    original = read_slice(images / "IM-0003-0008.dcm")
    image = sitk.ReadImage(str(folder / "imagesTr" / "SC-HF-I-01_0008_0000.nii.gz"))
    labels = sitk.ReadImage(str(folder / "labelsTr" / "SC-HF-I-01_0008.nii.gz"))
    assert image.GetSize() == labels.GetSize() == (48, 40, 1)
    assert labels.GetPixelID() == sitk.sitkUInt8
    for volume in (image, labels):
        np.testing.assert_allclose(volume.GetSpacing(), (*trees.SPACING, 8), atol=1e-4)
        np.testing.assert_allclose(volume.GetOrigin(), original.GetOrigin(), atol=1e-3)
        np.testing.assert_allclose(volume.GetDirection(), original.GetDirection(), atol=1e-5)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(original))
    assert b"DOE" not in (folder / "imagesTr" / "SC-HF-I-01_0008_0000.nii.gz").read_bytes()
    assert not any("DOE" in image.GetMetaData(key) for key in image.GetMetaDataKeys())


def test_layout_d_has_epicardia_too(tmp_path):
    assert len(cases(convert(trees.layout_d(tmp_path / "d"), 503, target="both"))) == 12


@pytest.mark.parametrize("target, frames, values", [("endo", 24, {0, 1}), ("epi", 12, {0, 1}), ("both", 12, {0, 1, 2})])
def test_targets(source, target, frames, values):
    folder = convert(source, 503, target=target)
    assert len(cases(folder)) == frames
    labels = pixels(folder / "labelsTr" / "SC-N-02_0004.nii.gz")[0]
    assert set(np.unique(labels)) == values
    dataset = load(folder / "dataset.json")
    assert dataset["channel_names"] == {"0": "MRI"} and dataset["file_ending"] == ".nii.gz"
    assert dataset["overwrite_image_reader_writer"] == "SimpleITKIO"
    y, x = np.indices(labels.shape)
    distance = np.hypot(x - 20, y - 18)
    if target == "both":
        assert dataset["labels"] == {"background": 0, "epi": [1, 2], "endo": 2} and dataset["regions_class_order"] == [
            1,
            2,
        ]
        assert (labels[distance <= 5] == 2).all() and (labels[(distance > 7) & (distance < 8)] == 1).all()
        shares = load(folder / "conversion_report.json")["classes"]
        assert shares["epi"]["median"] > 1.5 * shares["endo"]["median"]
    else:
        radius = 6 if target == "endo" else 9
        assert (labels[distance < radius - 1] == 1).all() and not labels[distance > radius + 1].any()


def test_stacks(source):
    folder = convert(source, 503, kind="stacks")
    assert cases(folder) == sorted(f"{id}_{phase}" for id in trees.IDS for phase in ("ED", "ES"))
    image = sitk.ReadImage(str(folder / "imagesTr" / "SC-N-02_ED_0000.nii.gz"))
    labels = pixels(folder / "labelsTr" / "SC-N-02_ED.nii.gz")
    assert labels.shape == (3, 40, 48) and labels.any(axis=(1, 2)).all()
    np.testing.assert_allclose(image.GetSpacing(), (*trees.SPACING, trees.DISTANCE), atol=1e-4)  # not the thickness
    lowest = np.array([-30.0, 12.0, 50.0]) - 2 * trees.DISTANCE * trees.NORMAL
    np.testing.assert_allclose(image.GetOrigin(), lowest, atol=1e-3)
    above = image.TransformIndexToPhysicalPoint((0, 0, 2))
    np.testing.assert_allclose(above, lowest + 2 * trees.DISTANCE * trees.NORMAL, atol=1e-3)
    assert pixels(folder / "labelsTr" / "SC-N-02_ES.nii.gz").sum() < labels.sum()
    assert set(cases(convert(source, 504, kind="stacks", target="both"))) == {f"{id}_ED" for id in trees.IDS}


def test_a_stack_with_a_missing_slice_is_two(tmp_path, source, images, contours):
    for number, position, diastole in trees.frames(7)[12:]:
        trees.write_dicom(images / f"IM-0003-{number:04d}.dcm", number, position)
        if diastole and number != 16:
            trees.write_contour(contours, number, "i", 6)
            trees.write_contour(contours, number, "o", 9)
    folder = convert(source, 503, kind="stacks", target="epi")
    shapes = {name: pixels(folder / "labelsTr" / f"{name}.nii.gz").shape[0] for name in cases(folder) if "HF-I" in name}
    assert shapes == {"SC-HF-I-01_ED": 3, "SC-HF-I-01_ED_2": 3}
    assert {len(fold["val"]) for fold in load(folder / "splits_final.json")} == {1, 2}


def test_diastole_without_an_epicardium_is_found_by_the_time_of_the_beat(source, contours):
    (contours / "IM-0001-0012-ocontour-manual.txt").unlink()
    folder = convert(source, 503, kind="stacks")
    assert pixels(folder / "labelsTr" / "SC-HF-I-01_ED.nii.gz").shape[0] == 3


def test_rescale_is_honoured(source, images):
    trees.write_dicom(images / "IM-0003-0004.dcm", 4, 0, value=900, slope=0.5, intercept=-20)
    image = pixels(convert(source, 503) / "imagesTr" / "SC-HF-I-01_0004_0000.nii.gz")
    assert (image.min(), image.max()) == (30, 430)


def test_the_instance_number_counts_not_the_file_name(source, images):
    """A series whose files are numbered otherwise: frame 4 lies in a file that is named 8."""
    paths = {number: images / f"IM-0003-{number:04d}.dcm" for number in range(1, 13)}
    trees.write_dicom(paths[4], 8, -trees.DISTANCE, value=800)
    trees.write_dicom(paths[8], 4, 0, value=400)
    folder = convert(source, 503)
    assert pixels(folder / "imagesTr" / "SC-HF-I-01_0004_0000.nii.gz").max() == 400
    assert pixels(folder / "imagesTr" / "SC-HF-I-01_0008_0000.nii.gz").max() == 800


@pytest.mark.parametrize("kind", ["slices", "stacks"])
def test_paper_protocol_cuts_out_the_middle(source, kind, monkeypatch):
    folder = convert(source, 503, protocol="paper", kind=kind)
    whole = convert(source, 504, kind=kind)
    name = cases(folder)[0]
    image, old = (sitk.ReadImage(str(f / "imagesTr" / f"{name}_0000.nii.gz")) for f in (folder, whole))
    assert image.GetSize()[:2] == (160, 160)  # smaller images get zeros around
    point = old.TransformIndexToPhysicalPoint((20, 18, 0))
    assert image[image.TransformPhysicalPointToIndex(point)] == old[20, 18, 0] == 900
    assert pixels(folder / "labelsTr" / f"{name}.nii.gz").sum() == pixels(whole / "labelsTr" / f"{name}.nii.gz").sum()


def test_size_keeps_the_field_of_view(source):
    image = sitk.ReadImage(str(convert(source, 503, size=(20, 24)) / "imagesTr" / "SC-N-02_0004_0000.nii.gz"))
    assert image.GetSize() == (24, 20, 1)
    np.testing.assert_allclose(image.GetSpacing(), (2.5, 2.5, 8), atol=1e-4)
    corner = image.TransformContinuousIndexToPhysicalPoint((-0.5, -0.5, 0))
    expected = np.array([-30.0, 12.0, 50.0]) - 0.5 * 1.25 * (np.array(trees.COSINES[0]) + trees.COSINES[1])
    np.testing.assert_allclose(corner, expected, atol=1e-3)


def test_official_test(source):
    folder = convert(source, 503, official_test=True)
    assert {name.rpartition("_")[0] for name in cases(folder, "Ts")} == {"SC-HYP-06"}
    assert "SC-HYP-06_0004" not in cases(folder)


def test_zip_and_processes_give_the_same_bytes(source, tmp_path):
    archive = zip_folder(source, tmp_path / "s.zip")
    folders = convert(source, 503, kind="stacks", processes=2), convert(archive, 504, kind="stacks")
    first, second = ({p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in folders)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_the_polygon_includes_its_outline(tmp_path):
    (tmp_path / "c.txt").write_text("2.00 1.00\n5.50 1.00\n5.50 4.50\n2.00 4.50\n")
    mask = fill_contour(tmp_path / "c.txt", (8, 9))
    assert {tuple(map(int, where)) for where in np.argwhere(mask)} == {(y, x) for y in range(1, 5) for x in range(2, 6)}


def test_a_slip_of_the_pen_is_kept(source, contours):
    trees.write_contour(contours, 4, "i", 6, centre=(23.5, 18))
    labels = pixels(convert(source, 503, target="both") / "labelsTr" / "SC-HF-I-01_0004.nii.gz")[0]
    assert labels[18, 29] == 2


def contours_of_another(images, contours):
    for number in (4, 8, 12):
        trees.write_contour(contours, number, "o", 9, centre=(31, 26))


def one_frame_outside(images, contours):
    for number, position, diastole in trees.frames(6)[12:]:
        trees.write_dicom(images / f"IM-0003-{number:04d}.dcm", number, position)
        if diastole:
            trees.write_contour(contours, number, "i", 6)
            trees.write_contour(contours, number, "o", 9)
    trees.write_contour(contours, 4, "o", 9, centre=(31, 26))


def broken_line(images, contours):
    path = contours / "IM-0001-0004-ocontour-manual.txt"
    path.write_text(path.read_text().replace("\n", "\n12.5 abc\n", 1))


def three_numbers(images, contours):
    path = contours / "IM-0001-0004-ocontour-manual.txt"
    path.write_text("1 2 3\n" + path.read_text())


def not_a_number(images, contours):
    (contours / "IM-0001-0004-ocontour-manual.txt").write_text("1 1\n5 1\nnan 4\n")


def two_points(images, contours):
    (contours / "IM-0001-0004-ocontour-manual.txt").write_text("1 1\n2 2\n")


def binary_contour(images, contours):
    (contours / "IM-0001-0004-ocontour-manual.txt").write_bytes(b"\xff\xfe\x00\x81")


def outside_the_image(images, contours):
    trees.write_contour(contours, 4, "o", 9, centre=(45, 18))
    trees.write_contour(contours, 4, "i", 5, centre=(42, 18))


def truncated_dicom(images, contours):
    path = images / "IM-0003-0004.dcm"
    path.write_bytes(path.read_bytes()[:400])


def truncated_pixels(images, contours):
    path = images / "IM-0003-0004.dcm"
    path.write_bytes(path.read_bytes()[:-2000])


def no_dicom(images, contours):
    (images / "IM-0003-0004.dcm").write_bytes(b"<html>404</html>")


def missing_dicom(images, contours):
    (images / "IM-0003-0004.dcm").unlink()


def no_contours(images, contours):
    shutil.rmtree(contours)


def no_images(images, contours):
    shutil.rmtree(images)


def second_contour(images, contours):
    shutil.copytree(contours, contours.parent / "copy")


def second_series(images, contours):
    shutil.copytree(images, images.parent / "CINESAX_301")


@pytest.mark.parametrize(
    "spoil, message, left",
    [
        (
            contours_of_another,
            r"0004-icontour-manual\.txt: \d+ pixels \(\d+%\) of the .* 3 of 3 frames of SC-HF-I-01",
            9,
        ),
        (
            one_frame_outside,
            r"0004-icontour-manual\.txt: \d+ pixels \(\d+%\) of the endocardium lie outside .*ocontour",
            14,
        ),
        (broken_line, r"0004-ocontour-manual\.txt, line 2: expected two numbers `x y`, got '12\.5 abc'", 11),
        (three_numbers, r"0004-ocontour-manual\.txt, line 1: expected two numbers", 11),
        (not_a_number, r"0004-ocontour-manual\.txt, line 3: expected two numbers", 11),
        (two_points, r"0004-ocontour-manual\.txt: 2 points, a contour has three or more", 11),
        (binary_contour, r"0004-ocontour-manual\.txt: not a text file", 11),
        (outside_the_image, r"0004-ocontour-manual\.txt: the point .* lies outside its image of 40x48 pixels", 11),
        (truncated_dicom, r"IM-0003-0004\.dcm: cannot be read as a DICOM image", 11),
        (truncated_pixels, r"IM-0003-0004\.dcm: cannot be read as a DICOM image", 11),
        (no_dicom, r"IM-0003-0004\.dcm: cannot be read as a DICOM image", 11),
        (missing_dicom, r"0004-icontour-manual\.txt: no image with InstanceNumber 4 in .*CINESAX_300", 11),
        (no_contours, r"\.dcm: images of SC-HF-I-01, for which there are no contours", 9),
        (no_images, r"contour-manual\.txt: contours of SC-HF-I-01, for which there are no images", 9),
        (second_contour, r"0004-icontour-manual\.txt: a second contour for this frame of SC-HF-I-01", 12),
        (second_series, r"CINESAX_300, .*CINESAX_301: 2 series of SC-HF-I-01 hold the contoured frames", 9),
    ],
)
def test_bad_input(source, images, contours, nnunet, spoil, message, left):
    spoil(images, contours)
    with pytest.raises(ValueError, match=message) as error:
        convert(source, 503, target="epi")
    assert "--skip-bad" in str(error.value) and "\n" not in str(error.value)
    assert nnunet.content() == []
    assert len(cases(convert(source, 503, target="epi", skip_bad=True))) == left


def test_an_epicardium_without_endocardium_is_listed_and_no_error(source, contours):
    (contours / "IM-0001-0004-icontour-manual.txt").unlink()
    report = load(convert(source, 503, target="both") / "conversion_report.json")
    assert report["cases"] == {"training": 11, "test": 0, "skipped": 0}
    assert [case["case"] for case in report["not_used"]] == ["SC-HF-I-01_0004"]


def test_uneven_stack(source, images, nnunet):
    trees.write_dicom(images / "IM-0003-0008.dcm", 8, -trees.DISTANCE - 4)
    with pytest.raises(
        ValueError, match=r"IM-0003-0008\.dcm: 4\.0 mm off an even stack of 9\.0 mm per slice; try --as slices"
    ):
        convert(source, 503, kind="stacks")
    assert nnunet.content() == []


def no_table(source: Path) -> None:
    (source / "scd_patientdata.csv").unlink()


def broken_table(source: Path) -> None:
    (source / "scd_patientdata.csv").write_text("PatientID,OriginalID\nSCD0000101,HF-1\n")


def contours_only(source: Path) -> None:
    shutil.rmtree(source / "SCD_IMAGES_01")


def images_only(source: Path) -> None:
    shutil.rmtree(source / "SCD_ManualContours")


def something_else(source: Path) -> None:
    shutil.rmtree(source)
    (source / "Kvasir-SEG").mkdir(parents=True)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (no_table, r"source: no scd_patientdata\.csv, which tells .*, and no link\.csv; put one there"),
        (broken_table, r"scd_patientdata\.csv, line 2: expected PatientID and OriginalID"),
        (contours_only, r"not the layout of Sunnybrook; expected \(A\) .*; found no images of a known layout"),
        (images_only, r"not the layout of Sunnybrook; expected .*; found no contours"),
        (something_else, r"not the layout of Sunnybrook; expected .*; found Kvasir-SEG"),
    ],
)
def test_bad_source(source, nnunet, spoil, message):
    spoil(source)
    with pytest.raises(ValueError, match=message):
        convert(source, 503)
    assert nnunet.content() == []


@pytest.mark.parametrize("target", ["endo", "both"])
@pytest.mark.parametrize("kind", ["slices", "stacks"])
def test_real_cases(nnunet, target, kind):
    if not REAL.is_dir():
        pytest.skip("no real Sunnybrook cases beside the repository")
    folder = convert(REAL, 503, target=target, kind=kind, protocol="paper")
    report = load(folder / "conversion_report.json")
    assert report["cases"]["skipped"] == 0 and report["empty_masks"] == [] and report["not_used"] == []
    assert all(size.endswith("160x160") for size in report["written_sizes"])
    # Blood is brighter than the wall: were images and contours mismatched, this would not hold.
    brighter = []
    for name in cases(folder):
        image, labels = (
            pixels(folder / "imagesTr" / f"{name}_0000.nii.gz"),
            pixels(folder / "labelsTr" / f"{name}.nii.gz"),
        )
        inside = labels == labels.max()
        brighter.append(np.median(image[inside]) > np.median(image[labels == 1 if target == "both" else ~inside]))
    assert np.mean(brighter) > 0.95
