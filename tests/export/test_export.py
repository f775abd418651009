"""nnunet_mamba export: files that compute what the model does, in programs that do not know us; errors in one line."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.model_folders import LABELS, REGIONS, RGB, write_model, write_pictures
from nnunet_mamba import Predictor
from nnunet_mamba.cli.main import main
from nnunet_mamba.export import check, run
from nnunet_mamba.export.metadata import KEY
from nnunet_mamba.nnunet_folders import VARIABLES

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")
EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL, OTHERS, STOCK = "SliceMambaTrainer", ("DAMambaTrainer", "DermoMambaTrainer"), "nnUNetTrainer"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def models(home):
    labels = {SMALL: LABELS, OTHERS[0]: REGIONS, OTHERS[1]: LABELS, STOCK: LABELS}
    made = {
        trainer: write_model(home, trainer, RGB, labels[trainer], "NaturalImage2DIO", folds=(0, 1), seed=10)
        for trainer in labels
    }
    change(made[SMALL], inference_allowed_mirroring_axes=(0, 1))  # a training sets them
    return made


def change(model, **entries):
    file = model / "fold_0" / "checkpoint_final.pth"
    torch.save(torch.load(file, weights_only=False) | entries, file)


@pytest.fixture(scope="module")
def pictures(home):
    return write_pictures(home / "pictures")


def export(model, output, *options):
    return main(["export", "-m", str(model), "-o", str(output), *map(str, options)])


@pytest.fixture(scope="module")
def small(models, home):
    """The ONNX file of a small network whose scans are of both kinds: in chunks and in steps."""
    file = home / "small.onnx"
    assert export(models[SMALL], file, "-f", 0) == 0
    return file


def labels_by_example(monkeypatch, *arguments):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("onnx_predict").main(*map(str, arguments))


def test_the_example_predicts_as_we_do(small, models, pictures, monkeypatch):
    predictor = Predictor(models[SMALL], folds=0, device="cpu")
    assert predictor.mirroring_axes == (0, 1)
    for picture in pictures:
        wanted = predictor(picture)
        got = labels_by_example(monkeypatch, small, picture)
        assert got.shape == wanted.shape and len(np.unique(wanted)) > 1
        assert (got == wanted).mean() > 0.995  # nnU-Net adds the windows up in half precision


def test_a_batch_of_any_size_and_what_the_file_knows(small, models):
    session = onnxruntime.InferenceSession(small, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    assert image.shape[1:] == [3, 32, 32] and isinstance(image.shape[0], str)
    network = Predictor(models[SMALL], folds=0, device="cpu").networks[0]
    for batch in (1, 3):
        images = torch.randn(batch, 3, 32, 32)
        (got,) = session.run(None, {"image": images.numpy()})
        with torch.no_grad():
            wanted = network(images)
        assert got.shape == wanted.shape
        assert np.abs(got - wanted.numpy()).max() < 5e-5 * wanted.abs().max()
    known = json.loads(session.get_modelmeta().custom_metadata_map[KEY])
    wanted = {
        "trainer": SMALL,
        "fold": "0",
        "checkpoint": "checkpoint_final.pth",
        "channel_names": ["R", "G", "B"],
        "labels": LABELS,
        "patch_size": [32, 32],
        "spacing": [1.0, 1.0],
        "normalization": ["ZScoreNormalization"] * 3,
        "mirroring_axes": [0, 1],
    }
    assert {name: known[name] for name in wanted} == wanted


def test_a_torch_program_of_another_patch_and_trainer(models, home, capsys):
    file = home / "stock.pt2"
    assert export(models[STOCK], file, "-f", 1, "--format", "torch", "--patch", 48, 40) == 0
    assert "checked with torch 2" in capsys.readouterr().out
    extra = {KEY: ""}
    network = torch.export.load(file, extra_files=extra).module()
    images = torch.randn(3, 3, 48, 40)
    with torch.no_grad():
        wanted = Predictor(models[STOCK], folds=1, device="cpu").networks[0](images)
        torch.testing.assert_close(network(images), wanted, rtol=1e-4, atol=1e-5)
    assert json.loads(extra[KEY])["patch_size"] == [48, 40]


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["onnx", "torch"])
@pytest.mark.parametrize("trainer", [*OTHERS, SMALL])
def test_every_network_in_every_format(models, pictures, tmp_path, monkeypatch, capsys, trainer, kind):
    """The command itself checks the file."""
    file = tmp_path / "model"
    assert export(models[trainer], file, "-f", 0, "--format", kind) == 0, capsys.readouterr().err
    if kind == "onnx":
        got = labels_by_example(monkeypatch, file, pictures[0])
        assert (got == Predictor(models[trainer], folds=0, device="cpu")(pictures[0])).mean() > 0.995


@pytest.mark.exhaustive
def test_by_data_set_and_trainer(home, models, monkeypatch, capsys):
    for name in VARIABLES:
        monkeypatch.setenv(name, str(home / name.removeprefix("nnUNet_")))
    file = home / "by_id.onnx"
    assert main(["export", "-d", "9", "-tr", STOCK, "-f", "0", "-o", str(file)]) == 0
    assert f"{STOCK}, fold 0, checkpoint_final.pth" in capsys.readouterr().out and file.exists()


def test_a_file_that_computes_something_else_is_not_left(models, tmp_path, monkeypatch, capsys):
    def wrong(kind, file, batches):
        return whole(kind, file, [batch + 1 for batch in batches])

    whole = check.try_file
    monkeypatch.setattr(run, "try_file", wrong)
    file = tmp_path / "model.onnx"
    file.write_text("the one before")
    assert export(models[STOCK], file, "-f", 0) == 1
    assert "wanted at most 1e-04; nothing was written" in capsys.readouterr().err
    assert [path.read_text() for path in tmp_path.iterdir()] == ["the one before"]


def half_written(model):
    file = model / "fold_0" / "checkpoint_final.pth"
    file.write_bytes(file.read_bytes()[:-5000])


def of_their_trainer(model):
    change(model, trainer_name="TheirTrainer")


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (half_written, ["-f", "0"], "checkpoint_final.pth: got a zip file that torch cannot read: half written or cut"),
        (of_their_trainer, ["-f", "0"], "trainer TheirTrainer, which nnU-Net does not find here: install the package"),
        (None, [], "got the folds 0 1, wanted one per file: say -f 0"),
        (None, ["-f", "7"], "wanted checkpoint_final.pth or"),
        (None, ["-o", "no/model.onnx"], "-o: no is not a folder; make it first"),
        (None, ["-o", "."], "-o .: is a folder, wanted a file's name"),
        (None, ["-f", "0", "--patch", "48"], "--patch: got 1 sizes, wanted 2, as the model has"),
        (None, ["-f", "0", "--patch", "0", "9"], "--patch: got 0 9, wanted 1 or more each"),
        (None, ["-f", "0", "--patch", "30", "30"], "the network takes no images of 30 x 30: "),
        (None, ["-d", "9"], "wanted either -m MODEL, or -d ID and -tr TRAINER"),
    ],
    ids=["half", "no trainer", "folds", "fold", "no folder", "a folder", "axes", "zero", "patch", "both"],
)
def test_bad_input_ends_in_one_line(models, tmp_path, capsys, monkeypatch, damage, options, message):
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model"
    shutil.copytree(models[STOCK], model)
    if damage:
        damage(model)
    assert export(model, "model.onnx", *options) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("nnunet_mamba export: error: ") and message in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_format_or_a_package_that_is_not_there(models, tmp_path, capsys, monkeypatch):
    with pytest.raises(SystemExit):
        export(models[STOCK], tmp_path / "model", "--format", "tflite")
    assert "invalid choice: 'tflite'" in capsys.readouterr().err
    monkeypatch.setattr("nnunet_mamba.cli.export.find_spec", lambda name: None)
    assert export(models[STOCK], tmp_path / "model") == 1
    assert (
        '--format onnx needs onnx, onnxscript, onnxruntime: pip install "nnunet-mamba[onnx]"' in capsys.readouterr().err
    )


def test_the_parts_of_the_example(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = importlib.import_module("onnx_predict")
    meta = {
        "normalization": ["ZScoreNormalization", "CTNormalization"],
        "normalization_in_foreground_only": [False] * 2,
    }
    meta["intensities"] = {"1": {"percentile_00_5": 0, "percentile_99_5": 4, "mean": 2, "std": 2}}
    image = np.stack([np.arange(4.0), np.array([-1, 2, 3, 9])])[:, None]
    np.testing.assert_allclose(example.normalised(image, meta)[1, 0], [-1, 0, 0.5, 1])
    assert example.starts(110, 64) == [0, 23, 46] and example.starts(32, 32) == [0]
    regions = {"regions_class_order": [1, 2]}
    assert example.labels_of(np.array([[[1, 1, -1]], [[-1, 1, -1]]]), regions).tolist() == [[1, 2, 0]]
