"""What a report compares: classes, cases, and the files of each trainer's predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Label(NamedTuple):
    """A class: its name and the values of its pixels. More than one value: a region of nnU-Net's."""

    name: str
    values: tuple[int, ...]


class PredictionFile(NamedTuple):
    """One prediction: of `trainer`, an index of the comparison's trainers, in `fold` ('' where there are no folds)."""

    trainer: int
    fold: str
    file: Path


class CaseFiles(NamedTuple):
    """The files of a case."""

    id: str
    truth: Path
    image: Path | None
    predictions: tuple[PredictionFile, ...]


class Problem(NamedTuple):
    """A prediction that could not be evaluated, or a doubt about one that was. Both are listed on the page."""

    trainer: str
    fold: str
    case: str
    reason: str


@dataclass
class Comparison:
    """What there is to compare.

    Attributes:
        title: of the page.
        trainers: their names, the first one is what others are compared with.
        labels: the classes.
        ignore: the label whose pixels do not count.
        known: all values that a mask may hold.
        cases: sorted by id.
        problems: what was missing or superfluous.
        expected: predictions that there should be, per trainer.
        folders: where each trainer's predictions come from.
        truth: where the truth comes from.
        groups: case -> what folds never split, where it is known.
        splits: validation cases per fold, in nnU-Net's order.
        conversion: conversion_report.json of the data set.
    """

    title: str
    trainers: Sequence[str]
    labels: Sequence[Label]
    ignore: int | None
    known: frozenset[int]
    cases: Sequence[CaseFiles]
    problems: list[Problem]
    expected: Sequence[int]
    folders: Sequence[Path]
    truth: Path
    groups: Mapping[str, str] = field(default_factory=dict)
    splits: Sequence[Sequence[str]] = ()
    conversion: Mapping = field(default_factory=dict)


def labels_of(dataset_json: Mapping) -> tuple[list[Label], int | None, frozenset[int]]:
    """Classes, ignore label and all values that nnU-Net's dataset.json names.

    Raises:
        ValueError: there is no class besides background.
    """
    labels = {name: _values(value) for name, value in dataset_json["labels"].items()}
    known = frozenset({0}.union(*labels.values()))
    ignore = labels.pop("ignore", (None,))[0]
    found = [Label(name, values) for name, values in labels.items() if values != (0,)]
    if not found:
        raise ValueError("dataset.json: got no label besides background, wanted at least one")
    return found, ignore, known


def _values(value: int | Sequence[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)
