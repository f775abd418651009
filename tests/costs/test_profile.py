"""`nnunet_mamba profile`: table, JSON and picture; for a patch and for plans; wrong options."""

import json

import numpy as np
import pytest
from PIL import Image

from helpers.tiny_nnunet import NAME, discs, write
from nnunet_mamba import catalogue
from nnunet_mamba.cli.main import main
from nnunet_mamba.costs.measured import part_of

DERMO = catalogue.network("dermomamba").trainer


def profile(*options):
    return main(["profile", "--device", "cpu", *map(str, options)])


def test_of_a_patch(tmp_path, capsys):
    assert profile("-tr", DERMO, "--patch", 32, 48, "--classes", 3, "-o", tmp_path) == 0
    written = json.loads((tmp_path / "profile.json").read_text())
    printed = capsys.readouterr().out
    assert written["patch"] == [32, 48] and written["heads"] == 3 and written["batch"] == 2
    assert written["multiply_adds"] == sum(layer["multiply_adds"] for layer in written["layers"])
    assert written["scan_multiply_adds"] == sum(layer["scan"] for layer in written["layers"]) > 0
    assert written["parameters"] == sum(layer["parameters"] for layer in written["layers"])
    measured = written["measured"]
    assert 0 < measured["forward_seconds"] < measured["step_seconds"]
    assert {part.split(".")[0] for part in measured["parts"]} >= {"encoder", "decoder"}
    if measured["step_bytes"] is not None:  # weights, gradients and two moments of float32 live at the peak
        assert (
            measured["step_bytes"] > 16 * written["parameters"] > measured["forward_bytes"] > 4 * written["parameters"]
        )
    for words in ("without the scan", "in the scan", "padding='same'", "0.966 G in the authors' code", "3.78 G"):
        assert words in printed
    assert len(np.unique(np.asarray(Image.open(tmp_path / "profile.png").convert("RGB")).reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize("trainer", ["nnUNetTrainer", "nnUNetTrainerASFM"])
def test_of_plans(tmp_path, monkeypatch, trainer):
    for variable, value in write(tmp_path, discs(2), [{"train": ["disc0"], "val": ["disc1"]}]).items():
        monkeypatch.setenv(variable, value)
    assert profile("-tr", trainer, "-d", NAME) == 0
    written = json.loads((tmp_path / f"results/{NAME}/{trainer}__nnUNetPlans__2d/profile.json").read_text())
    assert written["patch"] == [32, 32] and written["channels"] == 1 and written["heads"] == 2
    assert written["scan_multiply_adds"] == 0 < written["multiply_adds"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-tr", DERMO), "wanted either -d ID or --patch"),
        (("-tr", DERMO, "--patch", 32, 32, "--batch", 0), "--batch: got 0"),
        (("-tr", DERMO, "--patch", 32), "wanted 2 or 3 axes"),
        (("-tr", "NoTrainerHere", "--patch", 32, 32), "NoTrainerHere: nnU-Net finds no such trainer"),
        (("-tr", "nnUNetTrainer", "--patch", 32, 32), "its network comes from a data set's plans; say -d ID"),
    ],
)
def test_wrong_options(tmp_path, capsys, options, message):
    assert profile(*options, "-o", tmp_path) == 1
    assert message in capsys.readouterr().err and not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "part"), [("encoder.0.mamba.fc", "encoder.0"), ("bottleneck.conv.0", "bottleneck"), ("head", "head")]
)
def test_parts(name, part):
    assert part_of(name) == part
