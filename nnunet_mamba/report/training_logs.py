"""What nnU-Net's training logs tell: losses and pseudo Dice per epoch, and seconds per validation case."""

import re
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?): ?(.*?)\s*$")
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?|nan")
BETWEEN_CASES = 3600  # seconds; more is an interruption


class Curves(NamedTuple):
    """Per epoch: training loss, validation loss, and pseudo Dice, the mean over classes."""

    train_loss: dict[int, float]
    val_loss: dict[int, float]
    dice: dict[int, float]


def read_curves(fold: Path) -> Curves:
    """The curves of a fold's folder, from all of its logs: a training that went on has several."""
    curves = Curves({}, {}, {})
    for log in sorted(fold.glob("training_log_*.txt")):
        epoch = -1
        for _, text in _lines(log):
            word, _, rest = text.partition(" ")
            if word == "Epoch" and rest.isdecimal():
                epoch = int(rest)
                if epoch in curves.train_loss:  # repeated after an interruption
                    for curve in curves:
                        for late in [e for e in curve if e >= epoch]:
                            del curve[late]
            elif epoch >= 0 and (numbers := [float(x) for x in NUMBER.findall(rest)]):
                if word == "train_loss":
                    curves.train_loss[epoch] = numbers[0]
                elif word == "val_loss":
                    curves.val_loss[epoch] = numbers[0]
                elif text.startswith("Pseudo dice"):
                    known = [x for x in numbers if x == x]
                    if known:
                        curves.dice[epoch] = sum(known) / len(known)
    return curves


def seconds_per_case(model: Path) -> float | None:
    """The median time between the validation cases of all folds; None where the logs do not tell."""
    seconds = []
    for log in model.glob("fold_*/training_log_*.txt"):
        starts = [time for time, text in _lines(log) if text.startswith("predicting ")]
        between = [(after - before).total_seconds() for before, after in zip(starts, starts[1:])]
        seconds += [each for each in between if each < BETWEEN_CASES]
    return median(seconds) if seconds else None


def _lines(log: Path):
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := LINE.match(line):
            yield datetime.fromisoformat(match[1]), match[2]
