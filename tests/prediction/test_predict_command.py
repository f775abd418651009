"""nnunet_mamba predict: images of any names, labels and pictures of them, nothing half-written, errors in one line."""

import numpy as np
import pytest
import SimpleITK
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from PIL import Image

from nnunet_mamba import Predictor
from nnunet_mamba.cli.main import main
from nnunet_mamba.evaluation import outline
from nnunet_mamba.evaluation.overlay import PREDICTION_COLOUR
from nnunet_mamba.prediction.cases import find_cases
from nnunet_mamba.prediction.images import ImageReader

QUICK = "--no-mirroring", "--device", "cpu"


@pytest.fixture
def predict(models):
    def run(images, output, *options, model=None):
        asked = ["predict", "-m", model or models["rgb stock"], "-i", images, "-o", output, *options, *QUICK]
        return main(list(map(str, asked)))

    return run


@pytest.fixture
def images(pictures, tmp_path):
    """Images of several names and formats, and a file that is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    first = Image.open(pictures[0])
    first.save(folder / "skin of a patient.BMP")
    first.save(folder / "photo.jpg")
    first.convert("RGBA").save(folder / "with_alpha_0000.png")
    (folder / "notes.txt").touch()
    (folder / ".hidden.png").touch()
    return folder


def pixels(file):
    return np.asarray(Image.open(file))


def test_folder_of_any_names(predict, models, images, tmp_path, capsys):
    out = tmp_path / "made" / "out"
    assert predict(images, out, "--overlays") == 0
    names = ["photo", "skin of a patient", "with_alpha"]
    for folder in (out, out / "masks", out / "overlays"):
        assert sorted(file.stem for file in folder.glob("*.png")) == names
    assert not list(out.glob(".*"))
    assert sorted(file.name for file in out.glob("*.json")) == ["dataset.json", "plans.json"]
    said = capsys.readouterr()
    assert said.out.startswith("nnUNetTrainer, fold 0, checkpoint_final.pth, on cpu\nleft out, no images of the ")
    assert "3/3" in said.err
    predictor = Predictor(models["rgb stock"], device="cpu", mirroring=False)
    labels = pixels(out / "skin of a patient.png")
    np.testing.assert_array_equal(labels, predictor(images / "skin of a patient.BMP"))
    np.testing.assert_array_equal(labels, pixels(out / "with_alpha.png"))
    mask = pixels(out / "masks" / "photo.png")
    labels = pixels(out / "photo.png")
    for value, colour in ((0, (0, 0, 0)), (1, (255, 255, 255)), (2, (230, 159, 0))):
        assert (labels == value).any() and (mask[labels == value] == colour).all()
    drawn = (pixels(out / "overlays" / "photo.png") == PREDICTION_COLOUR).all(axis=2)
    assert drawn.any() and not drawn[~outline(labels)].any()


def test_volumes_keep_their_geometry_and_have_one_overlay(predict, models, stacks, tmp_path, capsys):
    assert predict(stacks[0].parent, tmp_path / "out", "--overlays", model=models["regions"]) == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "dataset.json", "masks", "overlays", "plans.json", "stack0.nii.gz", "stack1.nii.gz"
    ]  # fmt: skip
    volume = SimpleITK.ReadImage(str(tmp_path / "out" / "stack0.nii.gz"))
    assert volume.GetSpacing() == pytest.approx((0.8, 1.3, 3.0)) and volume.GetOrigin() == (1.0, 2.0, 3.0)
    assert pixels(tmp_path / "out" / "overlays" / "stack0.png").shape == (30, 30, 3)
    assert [file.name for file in (tmp_path / "out" / "masks").iterdir()] == ["stack1.png"]  # a single slice
    assert "[1/2] stack0\n[2/2] stack1\n" in capsys.readouterr().out


def test_labels_that_are_there(predict, images, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(images, out) == 0
    (out / "photo.png").write_bytes(b"corrected by hand")
    (out / "with_alpha.png").unlink()
    assert predict(images, out) == 1
    assert "photo.png is there, and 1 more of 3: --overwrite replaces them, --continue" in capsys.readouterr().err
    assert predict(images, out, "--continue") == 0
    assert "predicted before: 2\n" in capsys.readouterr().out
    assert (out / "photo.png").read_bytes() == b"corrected by hand" and pixels(out / "with_alpha.png").ndim == 2
    assert predict(images, out, "--overwrite") == 0
    assert pixels(out / "photo.png").shape == (40, 36)


def test_interrupted(predict, images, tmp_path, monkeypatch, capsys):
    whole, calls = Predictor.predict, []

    def interrupted(self, case):
        calls.append(case)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(self, case)

    monkeypatch.setattr(Predictor, "predict", interrupted)
    out = tmp_path / "out"
    assert predict(images, out) == 130
    assert "interrupted; what is in" in (said := capsys.readouterr().err) and "--continue" in said
    assert sorted(file.name for file in out.iterdir()) == ["dataset.json", "masks", "photo.png", "plans.json"]
    assert predict(images, out, "--continue") == 0
    assert len(calls) == 4 and len(list(out.glob("*.png"))) == 3


def test_a_broken_image_does_not_end_the_others(predict, images, tmp_path, capsys):
    (images / "broken.png").write_bytes(b"\x89PNG")
    Image.new("L", (20, 20)).save(images / "grey.png")
    assert predict(images, tmp_path / "out") == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("nnunet_mamba predict: error")]
    assert len(errors) == 2 and "broken.png: cannot be read" in errors[0] and "grey.png: got 1 channel" in errors[1]
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


@pytest.mark.parametrize(
    ("images", "output", "message"),
    [
        ("empty", "out", "got no image, wanted files in a format that the model's reader reads: .png .jpg"),
        ("no.png", "out", "no.png: there is no such file"),
        ("a.docx", "out", "a.docx: got the format .docx, wanted one"),
        ("folder", "folder", "a.png would replace an image; choose another folder"),
        ("folder", "a.docx", "a.docx: cannot be written (File exists); wanted a folder"),
        ("folder", "a.docx/out", "cannot be written (Not a directory); wanted a folder"),
        ("twice", "out", "whose labels would have one name: rename one, or predict it alone"),
    ],
)
def test_bad_input_ends_in_one_line(predict, tmp_path, capsys, images, output, message):
    for name in ("empty", "folder", "twice"):
        (tmp_path / name).mkdir()
    for file in ("a.docx", "folder/a.png", "twice/a.png", "twice/a.bmp"):
        (tmp_path / file).touch()
    assert predict(tmp_path / images, tmp_path / output) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("nnunet_mamba predict: error: ") and message in lines[0]
    assert (tmp_path / "folder" / "a.png").read_bytes() == b""


@pytest.mark.parametrize(
    ("files", "channels", "cases"),
    [
        ("a_0000 a_0001 b_0001 b_0000", 2, {"a": "a_0000 a_0001", "b": "b_0000 b_0001"}),
        ("a_0000 b IMG_2021", 1, {"a": "a_0000", "b": "b", "IMG_2021": "IMG_2021"}),
        ("a b", 2, {"a": "a", "b": "b"}),  # refused when they are read: one channel each
    ],
)
def test_files_of_a_case(stacks, tmp_path, files, channels, cases):
    for name in files.split():
        (tmp_path / f"{name}.nii.gz").write_bytes(stacks[0].read_bytes())
    reader = ImageReader(SimpleITKIO(), [f"channel {number}" for number in range(channels)])
    found, others = find_cases([tmp_path], reader)
    assert {name: " ".join(file.name[:-7] for file in of_case) for name, of_case in found.items()} == cases
    assert others == []
