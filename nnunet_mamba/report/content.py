"""What the page says: numbers as text, and the words about how they were made."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nnunet_mamba.report.comparison import Comparison
from nnunet_mamba.report.exactness import EXACTNESS
from nnunet_mamba.report.metrics import Metric
from nnunet_mamba.report.results import Cell, Results, Table
from nnunet_mamba.report.statistics import RESAMPLES, Summary
from nnunet_mamba.report.training_logs import Curves, read_curves

NO_VALUE = "–"
EMPTY = (
    "Truth and prediction both empty: no number has a value, the case is left out of means and tests, and counted "
    "under its table. Only one of them empty: overlap and NSD are 0, HD95 and ASSD the diagonal of the image, "
    "the largest "
    "distance that there can be."
)
IGNORE = (
    "Pixels of the ignore label do not count. For the distances, whatever was predicted there is taken to be right, "
    "and boundaries inside are left out."
)


def heading(metric: Metric, unit: str, tolerance: float) -> str:
    """The metric's name with its unit or tolerance."""
    if metric.is_distance:
        return f"{metric.name} ({unit})"
    return f"{metric.name} at {tolerance:g} {unit}" if metric.key == "nsd" else metric.name


def table_content(table: Table, comparison: Comparison, results: Results, metrics: Sequence[Metric]) -> dict[str, Any]:
    """A table as text."""
    rows, folds = [], []
    for index, trainer in enumerate(comparison.trainers):
        evaluated = sum(row.trainer == index for row in results.rows)
        cells = [_cell(cell, metric) for cell, metric in zip(table.cells[index], metrics, strict=True)]
        expected = comparison.expected[index]
        rows.append(
            {
                "trainer": trainer,
                "evaluated": evaluated,
                "expected": expected,
                "cells": cells,
                "empty": table.empty[index],
            }
        )
        for fold, summaries in table.folds[index].items():
            count = sum((row.trainer, row.fold) == (index, fold) for row in results.rows)
            texts = [_summary(each, metric) for each, metric in zip(summaries, metrics, strict=True)]
            folds.append({"trainer": trainer, "fold": fold, "count": count, "cells": texts})
    return {"label": table.label, "rows": rows, "folds": folds, "comparisons": table.comparisons}


def _cell(cell: Cell, metric: Metric) -> dict[str, Any]:
    text: dict[str, Any] = dict(_summary(cell.summary, metric))
    text["paired"] = None
    if cell.paired is not None:
        p = cell.paired.corrected
        text["paired"] = {
            "p": NO_VALUE if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}",
            "effect": number(cell.paired.effect, 2, sign=True),
            "pairs": cell.paired.pairs,
        }
    return text


def _summary(summary: Summary, metric: Metric) -> dict[str, str]:
    digits = 2 if metric.is_distance else 3
    return {name: number(getattr(summary, name), digits) for name in ("mean", "sd", "low", "high")}


def number(value: float, digits: int, sign: bool = False) -> str:
    """`value` with `digits` after the point, or a dash."""
    return NO_VALUE if math.isnan(value) else f"{value:{'+' if sign else ''}.{digits}f}"


def metric_content(metrics: Sequence[Metric], unit: str, tolerance: float, monai: str) -> list[dict[str, Any]]:
    """Headings and meanings."""
    tools = {metric.key: f"MONAI {monai}, between centres of boundary pixels." for metric in metrics}
    tools |= dict.fromkeys(("dice", "iou"), "As nnU-Net computes it.")
    tools |= dict.fromkeys(("precision", "recall"), "Of the same counts of pixels.")
    tools["soft_dice"] = "Without a threshold, as some papers give it; sums over all pixels of the case."
    return [
        {
            "heading": heading(metric, unit, tolerance),
            "more_is_better": metric.more_is_better,
            "meaning": metric.meaning,
            "tool": tools[metric.key],
        }
        for metric in metrics
    ]


def statistics_words(comparison: Comparison) -> str:
    """The conventions of the statistics."""
    import scipy

    words = (
        f"SciPy {scipy.__version__}. SD: of the sample (n - 1). Interval: percentile bootstrap of the mean, "
        f"{RESAMPLES} resamples of the cases, fixed seed. A case that was predicted in several folds counts "
        f"once, with its mean. "
        "Mean of the classes: of a case, over the classes that have a value in it."
    )
    if len(comparison.trainers) > 1:
        words += (
            " p: Wilcoxon's signed-rank test, two-sided, of cases that both trainers have a value for; equal values "
            "are left out. Holm's correction is over all metrics and trainers of a table. Effect: matched-pairs "
            "rank-biserial correlation, (W+ - W-) / (W+ + W-)."
        )
    if len(set(comparison.groups.values())) < len(comparison.groups):
        words += " Cases of one group are not independent: intervals and p are then too small."
    return words


def curve_content(comparison: Comparison) -> list[dict[str, Any]]:
    """The training curves of each trainer, as points of a 320 x 170 picture."""
    found = []
    for trainer, model in zip(comparison.trainers, comparison.folders, strict=True):
        folds = [
            _fold_curves(folder.name.removeprefix("fold_"), curves)
            for folder in sorted(model.glob("fold_*"))
            if len((curves := read_curves(folder)).train_loss) > 0
        ]
        if folds:
            found.append({"trainer": trainer, "folds": folds})
    return found


def _fold_curves(fold: str, curves: Curves) -> dict[str, Any]:
    named = {"train": curves.train_loss, "val": curves.val_loss, "dice": curves.dice}
    values = [value for curve in named.values() for value in curve.values() if math.isfinite(value)]
    epochs = [epoch for curve in named.values() for epoch in curve]
    low, high = min(values, default=0.0), max(values, default=1.0)
    high = high if high > low else low + 1
    first, last = min(epochs), max(epochs)

    def x(epoch: int) -> float:
        return round(36 + 276 * (epoch - first) / max(last - first, 1), 1)

    def y(value: float) -> float:
        return round(140 - 126 * (value - low) / (high - low), 1)

    lines = []
    for kind, curve in named.items():
        points = [(x(epoch), y(value)) for epoch, value in sorted(curve.items()) if math.isfinite(value)]
        if len(points) == 1:  # of a single epoch: a short line that can be seen
            points = [points[0], (points[0][0] + 8, points[0][1])]
        step = max(1, len(points) // 500)
        lines.append({"kind": kind, "points": " ".join(f"{a},{b}" for a, b in points[::step])})
    ticks = [{"y": y(value), "text": f"{value:.2f}"} for value in (low, (low + high) / 2, high)]
    text = f"{len(curves.train_loss)} epochs"
    if curves.dice:
        best = max(curves.dice, key=lambda epoch: curves.dice[epoch])
        text += f", highest pseudo Dice {curves.dice[best]:.3f} in epoch {best}"
    return {"fold": fold, "first": first, "last": last, "lines": lines, "ticks": ticks, "text": text}


def split_content(comparison: Comparison) -> dict[str, Any]:
    """The folds: which case is in which, and what the conversion says about them."""
    groups = comparison.groups
    splits = [
        {
            "count": len(split),
            "groups": len({groups.get(case, case) for case in split}),
            "cases": ", ".join(
                f"{case} ({groups[case]})" if groups.get(case, case) != case else case for case in split
            ),
        }
        for split in comparison.splits
    ]
    counts = " + ".join(str(split["count"]) for split in splits)
    words = f"splits_final.json has {len(splits)} folds of {counts} validation cases."
    if groups:
        shared = _groups_in_two_folds(comparison)
        words += (
            f" {len(shared)} groups are split between folds: {', '.join(shared[:5])}."
            if shared
            else f" None of the {len(set(groups.values()))} groups is split between two of them."
        )
    return {
        "splits": splits,
        "groups": len(set(groups.values())),
        "fold_words": words,
        "conversion": json.dumps(without_cases(comparison.conversion), indent=1) if comparison.conversion else "",
    }


def without_cases(conversion: Mapping) -> dict[str, Any]:
    """The conversion's report without its list of all cases."""
    return {key: value for key, value in conversion.items() if key != "written"}


def _groups_in_two_folds(comparison: Comparison) -> list[str]:
    folds: dict[str, set[int]] = {}
    for fold, split in enumerate(comparison.splits):
        for case in split:
            folds.setdefault(comparison.groups.get(case, case), set()).add(fold)
    return sorted(group for group, inside in folds.items() if len(inside) > 1)


def exactness_content(distances: bool) -> list[dict[str, str]]:
    """The table of shapes whose distances are known."""
    return [row._asdict() for row in EXACTNESS] if distances else []
