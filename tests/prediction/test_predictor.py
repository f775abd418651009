"""Predictor gives the labels and probabilities of nnUNetv2_predict, pixel by pixel, of images in every form."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.process import BaseProcess

import numpy as np
import pytest
import SimpleITK
import torch
from PIL import Image

from helpers.nnunet_home import read_volume
from helpers.tiny_nnunet import NAME
from nnunet_mamba import Predictor
from nnunet_mamba.prediction.model import find_model


def read(file):
    return read_volume(file) if file.name.endswith(".nii.gz") else np.asarray(Image.open(file))


@pytest.fixture(scope="module")
def predictor(models):
    """Of RGB images, quick: one fold, no mirroring."""
    return Predictor(models["rgb"], folds=0, device="cpu", mirroring=False)


@pytest.mark.parametrize(
    ("name", "folds", "mirroring"),
    [("rgb", (0, 1), True), ("rgb stock", (0,), False), ("stack", (0,), False), ("regions", (0,), True)],
    ids=["rgb, folds, mirroring", "rgb, stock", "stack", "stack, regions, mirroring"],
)
def test_equals_the_command(home, models, pictures, stacks, tmp_path, monkeypatch, name, folds, mirroring):
    files = pictures if "rgb" in name else stacks
    home.command(
        "nnUNetv2_predict", "-d", NAME, "-tr", models[name].name.split("__")[0], "-c", "2d", "-f", *folds,
        "-i", files[0].parent, "-o", tmp_path, "-device", "cpu", "-npp", 1, "-nps", 1, "--save_probabilities",
        *["--disable_tta"] * (not mirroring),
    )  # fmt: skip
    monkeypatch.setattr(BaseProcess, "start", None)  # no process can be started
    ours = Predictor(models[name], folds=folds, device="cpu", mirroring=mirroring)
    wanted = [read(tmp_path / file.name.replace("_0000", "")) for file in files]
    assert len(np.unique(np.concatenate([labels.ravel() for labels in wanted]))) > 1
    for labels, of_command in zip(ours(files), wanted, strict=True):
        np.testing.assert_array_equal(labels, of_command)
        assert labels.dtype == np.uint8
    np.testing.assert_array_equal(ours(SimpleITK.ReadImage(str(files[0]))), wanted[0])
    labels, probabilities = ours(read(files[1]), True, **({} if "rgb" in name else {"spacing": (3.0, 1.3, 0.8)}))
    np.testing.assert_array_equal(labels, wanted[1])
    of_command = np.load(tmp_path / f"{files[1].name.split('_0000')[0]}.npz")["probabilities"]
    np.testing.assert_array_equal(probabilities, of_command[:, 0] if "rgb" in name else of_command)


def test_zip_of_the_model(home, models, predictor, pictures, tmp_path):
    file = tmp_path / "model.zip"
    home.command(
        "nnUNetv2_export_model_to_zip", "-d", NAME, "-o", file, "-c", "2d", "-tr", "DermoMambaTrainer", "-f", 0
    )
    zipped = Predictor(file, device="cpu", mirroring=False)
    assert repr(zipped) == "Predictor(DermoMambaTrainer, fold 0, checkpoint_final.pth, on cpu)"
    assert zipped.labels == {"background": 0, "lesion": 1, "vessel": 2}
    np.testing.assert_array_equal(zipped(pictures[0]), predictor(pictures[0]))
    half = tmp_path / "half.zip"
    half.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"half.zip: not a zip, or one that was cut off \(copy it again\); wanted"):
        Predictor(half)


def test_threads_share_a_predictor(predictor, pictures):
    wanted, threads = predictor(pictures), torch.get_num_threads()
    with ThreadPoolExecutor(4) as pool:
        for number, labels in enumerate(pool.map(predictor, pictures * 2)):
            np.testing.assert_array_equal(labels, wanted[number % len(pictures)])
    assert torch.get_num_threads() == threads


def test_many_images_at_once(predictor, pictures):
    array = read(pictures[0])
    alpha = np.dstack([array, np.full(array.shape[:2], 200, np.uint8)])
    mixed = (image for image in (pictures[0], str(pictures[0]), array, [pictures[0]], alpha))
    first, *others = predictor(mixed)
    assert first.shape == array.shape[:2]
    for other in others:
        np.testing.assert_array_equal(other, first)
    assert predictor([]) == []
    channels_first = predictor(array.transpose(2, 0, 1)[:, None])  # nnU-Net's own layout
    np.testing.assert_array_equal(channels_first, first[None])


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("no.png", FileNotFoundError, "no.png: there is no such file"),
        (
            "notes.docx",
            ValueError,
            r"notes.docx: got the format .docx, wanted one .* NaturalImage2DIO reads: .png",
        ),
        ("cut.png", ValueError, r"cut.png: cannot be read \(.*\); copy or convert this file again"),
        ("grey.png", ValueError, r"grey.png: got 1 channel, wanted 3 \(R, G, B\): save it as RGB"),
        (np.zeros((9, 9, 5)), ValueError, r"the array: got 5 channels, wanted 3 \(R, G, B\): give the image that"),
        (np.zeros(9), ValueError, r"got an array of the shape \(9,\), wanted \(H, W\) or \(H, W, C\)"),
        (np.array([["a"]]), ValueError, "got an array of <U1"),
        (7, TypeError, "got int, wanted an image: a NumPy array, a SimpleITK image, a path"),
    ],
    ids=["missing", "format", "cut off", "channels of a file", "channels", "axes", "text", "no image"],
)
def test_bad_images(predictor, tmp_path, image, error, message):
    whole = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8))
    whole.convert("L").save(tmp_path / "grey.png")
    whole.save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:500])
    (tmp_path / "notes.docx").touch()
    with pytest.raises(error, match=message):
        predictor(tmp_path / image if isinstance(image, str) else image)


def test_bad_stacks(models, stacks, tmp_path):
    predictor = Predictor(models["stack"], device="cpu")
    with pytest.raises(ValueError, match=r"got an array with spacing=None, wanted spacing=\(z, y, x\) in mm"):
        predictor(read(stacks[0]))
    with pytest.raises(ValueError, match=r"stack1_0000.nii.gz: got the size \(1, 25, 50\) \(z, y, x\) with the"):
        predictor([stacks])
    with pytest.raises(ValueError, match=r"got 2 channels, wanted 1 \(MRI\)"):
        predictor([[stacks[0], stacks[0]]])
    half = tmp_path / "half.nii.gz"
    half.write_bytes(stacks[0].read_bytes()[:-2000])
    with pytest.raises(ValueError, match=r"half.nii.gz: cannot be read \(Compressed file ended before"):
        predictor(half)


class NotPlain:
    """Content of a checkpoint that runs code when it is unpickled."""

    def __reduce__(self):
        return (print, ("unpickled",))


def checkpoint_of(model):
    return model / "fold_0" / "checkpoint_final.pth"


def half_written(model):
    file = checkpoint_of(model)
    file.write_bytes(file.read_bytes()[:-5000])


def with_code(model):
    torch.save({"network_weights": NotPlain()}, checkpoint_of(model))


def changed(**entries):
    def change(model):
        file = checkpoint_of(model)
        torch.save(torch.load(file, weights_only=False) | entries, file)

    return change


def unplanned(model):
    plans = json.loads((model / "plans.json").read_text())
    plans["configurations"]["2d"]["previous_stage"] = "3d_lowres"
    (model / "plans.json").write_text(json.dumps(plans))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            half_written,
            r"checkpoint_final.pth: got a zip file that torch cannot read: half written or cut off",
        ),
        (with_code, r"got objects of the type print, which may run code when they are read"),
        (changed(trainer_name="TheirTrainer"), r"trainer TheirTrainer, which nnU-Net does not find here: install the"),
        (changed(network_weights={}), "weights do not fit the network of nnUNetTrainer: it was written by another ver"),
        (lambda model: torch.save({"state_dict": {}}, checkpoint_of(model)), "wanted a checkpoint that nnUNetv2_train"),
        (unplanned, "got the cascade's second stage"),
        (
            lambda model: (model / "plans.json").write_text("{"),
            r"plans.json: cannot be read \(.*\); copy the model",
        ),
        (lambda model: (model / "plans.json").unlink(), "got no plans.json in it; wanted a model's folder"),
        (lambda model: checkpoint_of(model).unlink(), "of fold 0, 1, ...; got fold 0: none. Train it, or say"),
    ],
    ids=["half", "code", "no trainer", "weights", "no checkpoint", "cascade", "plans", "no plans", "no fold"],
)
def test_bad_models(models, tmp_path, capsys, change, message):
    model = tmp_path / "model"
    shutil.copytree(models["rgb stock"], model)
    change(model)
    with pytest.raises(ValueError, match=message) as raised:
        Predictor(model, device="cpu")
    assert "\n" not in str(raised.value) and "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "no/model"}, "there is no such file or folder; wanted a model's folder"),
        ({"model": "."}, "got 4 models, DAMambaTrainer__nnUNetPlans__2d, DermoMamba"),
        (
            {"folds": (0, 3)},
            r"wanted checkpoint_final.pth or .* of fold 0 and 3; got fold 0: checkpoint_final.pth; f",
        ),
        ({"checkpoint": "checkpoint_best.pth"}, "wanted checkpoint_best.pth of fold"),
        ({"device": "cuda:77"}, "got the device cuda:77, which torch cannot use here"),
        ({"step_size": 2}, "got the step size 2, wanted more than 0 and at most 1 patch"),
        ({"device": "gpu"}, "got the device gpu, which torch"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_options(models, options, message):
    model = models["rgb"].parent / options["model"] if "model" in options else models["rgb"]
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Predictor(model, **{name: value for name, value in options.items() if name != "model"})


@pytest.mark.parametrize(
    ("there", "folds", "found"),
    [
        ({"0": "final best", "1": "final", "2": "latest"}, None, ("0 1", "final")),
        ({"0": "best latest", "1": "latest"}, None, ("0", "best")),
        ({"0": "final best", "1": "best latest"}, (0, 1), ("0 1", "best")),
        ({"0": "final", "all": "final"}, None, ("0", "final")),
        ({"0": "best", "all": "final"}, None, ("all", "final")),
        ({"0": "final", "all": "best"}, "all", ("all", "best")),
    ],
)
def test_the_best_checkpoint_there_is(tmp_path, there, folds, found):
    for name in ("plans", "dataset"):
        (tmp_path / f"{name}.json").write_text("{}")
    for fold, names in there.items():
        (tmp_path / f"fold_{fold}").mkdir()
        for name in names.split():
            (tmp_path / f"fold_{fold}" / f"checkpoint_{name}.pth").touch()
    model = find_model(tmp_path, folds)
    assert (" ".join(model.folds), model.checkpoint) == (found[0], f"checkpoint_{found[1]}.pth")
