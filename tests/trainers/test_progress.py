"""What a trainer says of its speed and of an epoch's progress, on a clock of the test's own."""

import sys
from pathlib import Path

import numpy as np
import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from helpers import tiny_nnunet
from nnunet_mamba import trainers
from nnunet_mamba.trainers import progress
from nnunet_mamba.trainers.progress import duration


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """Takes steps of so many seconds in the first epoch, after slow first ones; returns what was logged after each."""
    environment = tiny_nnunet.write(tmp_path, tiny_nnunet.discs(2), [{"train": ["disc0"], "val": ["disc1"]}])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    clock = [0.0]
    monkeypatch.setattr(progress, "time", lambda: clock[0])

    def take(seconds, count=250, slow=0, before=()):
        trainer = tiny_nnunet.trainer(trainers.nnUNetTrainerASFM, environment)
        trainer.initialize()

        def step(self, batch):
            clock[0] += seconds + 100 * (len(trainer._losses) < slow)
            return {"loss": np.float32(0.5)}

        monkeypatch.setattr(nnUNetTrainer, "train_step", step)
        trainer._kept_losses = before
        trainer.on_train_epoch_start()
        logged, seen = [], len(Path(trainer.log_file).read_text().splitlines())
        for _ in range(count):
            trainer.train_step({"target": None})
            lines = Path(trainer.log_file).read_text().splitlines()
            logged.append([line.split(": ", 1)[1].strip() for line in lines[seen:]])
            seen = len(lines)
        trainer.on_train_epoch_end([{"loss": np.array(0.5)}])
        return logged

    monkeypatch.setattr(trainers.nnUNetTrainerASFM, "_prepare_loss", lambda self, target: None)
    return take


def test_the_speed_is_said_after_twenty_steps_without_the_first(steps):
    logged = steps(8, 30, slow=3)
    (speed,) = logged[19]
    assert speed == (
        "Speed: 8 s per step of 2 images; 36 min per epoch, 500 images; 24.7 days to the end, 499,960 images"
    )
    assert sum("Speed" in line for lines in logged for line in lines) == 1


def test_a_long_epoch_has_nine_lines_and_a_short_one_none(steps):
    lines = [line for lines in steps(8) for line in lines if line.startswith("iteration")]
    assert len(lines) == 9
    assert lines[0] == "iteration 25 of 250, loss 0.5000, 8 s per step, 32 min left in this epoch"
    assert not any(line.startswith("iteration") for lines in steps(0.1) for line in lines)


def test_lines_are_a_minute_apart_at_least(steps):
    """A tenth of this epoch is 35 s."""
    at = [number for number, lines in enumerate(steps(1.4), 1) if any(line.startswith("iteration") for line in lines)]
    assert at == [43, 86, 129, 172, 215]


def test_an_epoch_that_goes_on_counts_from_its_beginning(steps):
    lines = [line for lines in steps(8, 150, before=[0.25] * 100) for line in lines if line.startswith("iteration")]
    assert lines[0] == "iteration 125 of 250, loss 0.5000, 8 s per step, 19 min left in this epoch" and len(lines) == 5


def test_a_terminal_shows_a_bar_and_the_file_has_the_lines(steps, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    lines = [line for lines in steps(8) for line in lines if line.startswith("iteration")]
    printed = capsys.readouterr()
    assert len(lines) == 9 and "iteration 25" not in printed.out
    assert "Epoch 0:" in printed.err and "/250" in printed.err and "loss=0.5000" in printed.err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (89, "89 s"),
        (100, "1.7 min"),
        (2133, "36 min"),
        (3 * 3600, "3.0 h"),
        (36e3, "10 h"),
        (2e6, "23.1 days"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words
