"""Numbers of runs and the cells of a table that they give."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matrix import Column, Matrix, varied_name

from nnunet_mamba.report.statistics import compare, summarise

NO_VALUE = "–"
METRICS = {"dice": 2, "iou": 2, "soft_dice": 2, "hd95": 2}  # digits: overlap in percent
Result = Mapping[str, Any]


def runs_by_row(matrix: Matrix, column: Column, results: Sequence[Result]) -> dict[str, list[Result]]:
    """The runs in `column` of each row that runs there, and then of ensembles."""
    names = [name for name, row in matrix.rows.items() if row.group in column.groups]
    names += [] if column.choices else matrix.ensembles
    return {name: _runs_of(name, column, results) for name in names}


def varied_runs(matrix: Matrix, column: Column, results: Sequence[Result], row: str) -> dict[str, list[Result]]:
    """The runs in `column` of each variant of `row` that has one."""
    found = {name: _runs_of(varied_name(row, name), column, results) for name in matrix.variants}
    return {name: runs for name, runs in found.items() if runs}


def _runs_of(name: str, column: Column, results: Sequence[Result]) -> list[Result]:
    return [result for result in results if (result["column"], result["row"]) == (column.name, name)]


def mean_per_case(runs: Sequence[Result], metric: str) -> dict[str, float]:
    """{case: mean over the runs that have a value for it}."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for case, values in run["cases"].items():
            if metric in values:
                found.setdefault(case, []).append(values[metric])
    return {case: math.fsum(values) / len(values) for case, values in found.items()}


def mean_of(runs: Sequence[Result], metric: str) -> float:
    """The mean over the cases; NaN without any."""
    values = list(mean_per_case(runs, metric).values())
    return math.fsum(values) / len(values) if values else math.nan


def in_common(first: Sequence[Result], other: Sequence[Result]) -> list[dict[str, float]]:
    """The Dice per case of both, over the folds and seeds that both have."""
    common = {(run["fold"], run["seed"]) for run in first} & {(run["fold"], run["seed"]) for run in other}
    parts = [[run for run in runs if (run["fold"], run["seed"]) in common] for runs in (first, other)]
    return [mean_per_case(part, "dice") for part in parts]


def compared(first: Sequence[Result], other: Sequence[Result]) -> float:
    """p of the paired difference in Dice, over the folds and seeds that both have; NaN without any."""
    return compare(*in_common(first, other), more_is_better=True).p


def differences(first: Sequence[Result], other: Sequence[Result]) -> dict[str, float]:
    """{case: Dice of `other` less that of `first`}, over the folds and seeds that both have."""
    before, after = in_common(first, other)
    return {case: value - before[case] for case, value in after.items() if case in before}


def interval(values: Mapping[str, float], metric: str, sign: str = "-") -> str:
    """The mean over cases with its 95 % interval; `sign` "+" for differences."""
    found = summarise(list(values.values()))
    mean, low, high = (number(value, metric, sign) for value in (found.mean, found.low, found.high))
    return mean if math.isnan(found.low) else f"{mean} ({low} to {high})"


def number(value: float, metric: str, sign: str = "-") -> str:
    """Overlap in percent, as the papers give it; distances as they are."""
    if math.isnan(value):
        return NO_VALUE
    return f"{value if metric == 'hd95' else 100 * value:{sign}.{METRICS[metric]}f}"


def p_text(p: float) -> str:
    return NO_VALUE if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def machine_of(result: Result) -> str:
    machine = result["machine"]
    if machine["device"] == "cpu":
        return f"{machine['processor']}, {machine['threads']} thread{'s' * (machine['threads'] != 1)}"
    return machine["processor"]


def span(values: Sequence[float], text: str) -> str:
    if not values:  # of an ensemble
        return NO_VALUE
    low, high = text.format(min(values)), text.format(max(values))
    return low if low == high else f"{low.rpartition(' ')[0]} to {high}"
