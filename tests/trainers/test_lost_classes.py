"""A class whose pseudo Dice stays near zero while others learn is named once, in one line of the log."""

from types import SimpleNamespace

import numpy as np
import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunet_mamba.trainers.lost_classes import LostClasses

LABELS = {"background": 0, "liver": 1, "tumour": 2, "vessel": 3}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "vessel": 3}


def lines_of(monkeypatch, history, labels=LABELS, num_epochs=1000):
    """What a trainer logs over epochs with this pseudo Dice per class."""
    monkeypatch.setattr(nnUNetTrainer, "on_validation_epoch_end", lambda self, outputs: None)
    trainer = object.__new__(LostClasses)
    lines, so_far = [], []
    trainer.num_epochs, trainer.dataset_json = num_epochs, {"labels": labels}
    trainer.label_manager = LabelManager(labels, (1, 2, 3) if labels is REGIONS else None)
    trainer.logger = SimpleNamespace(get_value=lambda name, step: so_far)
    trainer.print_to_log_file = lines.append
    for epoch in history:
        so_far.append(epoch)
        trainer.on_validation_epoch_end([])
    return lines


@pytest.mark.parametrize(("labels", "name"), [(LABELS, "tumour"), (REGIONS, "core")])
def test_a_lost_class_is_named_once(monkeypatch, labels, name):
    (line,) = lines_of(monkeypatch, [[0.8, 0.0, 0.6]] * 30, labels)
    assert line.startswith(f"The class {name} seems to be lost: its pseudo Dice was below 0.01 for 10 epochs")
    assert "the best class is at 0.80" in line and "dataset.json" in line and "\n" not in line


@pytest.mark.parametrize(
    "history",
    [
        [[0.8, 0.0, 0.6]] * 9,
        [[0.4, 0.0, 0.3]] * 30,
        [[0.8, 0.02, 0.6]] * 30,
        [[0.8, np.nan, 0.6]] * 30,
        [[0.8, 0.0, 0.6]] * 5 + [[0.8, 0.3, 0.6]] + [[0.8, 0.0, 0.6]] * 5,
        [[np.nan] * 3] * 30,
    ],
    ids=["too early", "nothing is learned", "a little", "absent", "found once", "no Dice at all"],
)
def test_no_false_alarm(monkeypatch, history):
    assert lines_of(monkeypatch, history) == []


def test_a_short_training_is_judged_in_its_second_half(monkeypatch):
    assert len(lines_of(monkeypatch, [[0.8, 0.0, 0.6]] * 2, num_epochs=5)) == 1
