"""All numbers of a report: rows, one per prediction, and the tables made of them."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnunet_mamba.report.comparison import Comparison, Problem
from nnunet_mamba.report.metrics import Metric
from nnunet_mamba.report.statistics import Paired, Summary, compare, holm, summarise

ALL_CLASSES = "mean of the classes"


@dataclass
class Row:
    """One prediction that was measured: a number per class and metric; NaN: has no value.

    `empty` is, per class, whether truth and prediction are; `slice` the index of the picture, `mask` its labels.
    """

    case: str
    trainer: int
    fold: str
    numbers: list[dict[str, float]]
    empty: list[tuple[bool, bool]]
    slice: int
    mask: str

    def value(self, label: int | None, metric: str) -> float:
        """Of the class, or with None the mean over the classes that have a value."""
        if label is not None:
            return self.numbers[label][metric]
        known = [numbers[metric] for numbers in self.numbers if not math.isnan(numbers[metric])]
        return sum(known) / len(known) if known else math.nan


@dataclass
class Results:
    """Rows, sorted by case, trainer and fold; the slices that they point to; and what could not be measured."""

    rows: list[Row] = field(default_factory=list)
    slices: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def collect(comparison: Comparison, files: Sequence[Path]) -> Results:
    """The results that `measure` wrote to `files`."""
    results = Results(problems=list(comparison.problems))
    for file in files:
        case = json.loads(file.read_text(encoding="utf-8"))
        offset = len(results.slices)
        results.slices += case["slices"]
        for row in case["rows"]:
            numbers = [{key: math.nan if v is None else v for key, v in each.items()} for each in row["numbers"]]
            empty = [(truth, prediction) for truth, prediction in row["empty"]]
            index = offset + row["slice"]
            results.rows.append(Row(case["id"], row["trainer"], row["fold"], numbers, empty, index, row["mask"]))
        for trainer, fold, reason in case["problems"]:
            name = "all" if trainer is None else comparison.trainers[trainer]
            results.problems.append(Problem(name, fold, case["id"], reason))
    return results


def per_case(rows: Sequence[Row], trainer: int, label: int | None, metric: str) -> dict[str, float]:
    """{case: value}; a case that was predicted in several folds has their mean."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.trainer == trainer and not math.isnan(value := row.value(label, metric)):
            found[row.case].append(value)
    return {case: sum(values) / len(values) for case, values in found.items()}


@dataclass
class Cell:
    """A trainer's number: its summary, and how it differs from the first trainer's (None for that one)."""

    summary: Summary
    paired: Paired | None


@dataclass
class Table:
    """The comparison for one class: a cell per trainer and metric, the numbers of empty masks, means per fold.

    Attributes:
        label: name of the class.
        comparisons: how many Holm's correction is over.
        empty: per trainer, cases with an empty (truth and prediction, prediction only, truth only).
        folds: per trainer, {fold: a summary per metric}.
    """

    label: str
    cells: list[list[Cell]]
    comparisons: int
    empty: list[tuple[int, int, int]]
    folds: list[dict[str, list[Summary]]]


def tables(comparison: Comparison, rows: Sequence[Row], metrics: Sequence[Metric]) -> list[Table]:
    """A table per class, before them one of the mean over classes if there are several."""
    labels: list[int | None] = list(range(len(comparison.labels)))
    return [_table(comparison, rows, metrics, label) for label in ([None, *labels] if len(labels) > 1 else labels)]


def _table(comparison: Comparison, rows: Sequence[Row], metrics: Sequence[Metric], label: int | None) -> Table:
    trainers = range(len(comparison.trainers))
    values = [[per_case(rows, trainer, label, metric.key) for metric in metrics] for trainer in trainers]
    paired = [
        [compare(values[0][i], values[trainer][i], metric.more_is_better) for i, metric in enumerate(metrics)]
        for trainer in trainers[1:]
    ]
    ps = holm([each.p for of_trainer in paired for each in of_trainer])
    corrected = iter(ps)
    paired = [[each._replace(corrected=next(corrected)) for each in of_trainer] for of_trainer in paired]
    cells = [
        [Cell(summarise(list(by_case.values())), paired[trainer - 1][i] if trainer else None)
         for i, by_case in enumerate(values[trainer])]
        for trainer in trainers
    ]  # fmt: skip
    folds = [_folds(rows, trainer, label, metrics) for trainer in trainers]
    empty = [_empty([row for row in rows if row.trainer == trainer], label) for trainer in trainers]
    name = ALL_CLASSES if label is None else comparison.labels[label].name
    return Table(name, cells, sum(not math.isnan(p) for p in ps), empty, folds)


def _folds(rows: Sequence[Row], trainer: int, label: int | None, metrics: Sequence[Metric]) -> dict[str, list[Summary]]:
    folds = sorted({row.fold for row in rows if row.trainer == trainer and row.fold})
    return {
        fold: [
            summarise([row.value(label, metric.key) for row in rows if (row.trainer, row.fold) == (trainer, fold)])
            for metric in metrics
        ]
        for fold in folds
    }


def _empty(rows: Sequence[Row], label: int | None) -> tuple[int, int, int]:
    kinds = [kind for row in rows for kind in (row.empty if label is None else [row.empty[label]])]
    return kinds.count((True, True)), kinds.count((False, True)), kinds.count((True, False))
