"""Whether Dice and IoU agree with what nnU-Net wrote beside its predictions."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

from nnunet_mamba.report.comparison import Comparison, Problem
from nnunet_mamba.report.reading import stem_of
from nnunet_mamba.report.results import Row

AGREES = 1e-6
KEYS = {"dice": "Dice", "iou": "IoU"}


def check(comparison: Comparison, rows: Sequence[Row]) -> tuple[int, list[Problem]]:
    """How many numbers were compared with summary.json files, and those that differ by more than 1e-6."""
    theirs: dict[Path, dict[str, dict]] = {}
    files = {(case.id, p.trainer, p.fold): p.file for case in comparison.cases for p in case.predictions}
    compared, problems = 0, []
    for row in rows:
        file = files[row.case, row.trainer, row.fold]
        if file.parent not in theirs:
            theirs[file.parent] = _read(file.parent / "summary.json")
        for label, numbers in zip(comparison.labels, row.numbers, strict=True):
            reference = theirs[file.parent].get(row.case, {}).get(frozenset(label.values), {})
            for key, name in KEYS.items():
                if name not in reference:
                    continue
                compared += 1
                if not _agree(numbers[key], reference[name]):
                    reason = (
                        f"{label.name}: {name} is {numbers[key]:.6f}, nnU-Net's summary.json has {reference[name]}: "
                        "prediction or truth has changed since"
                    )
                    problems.append(Problem(comparison.trainers[row.trainer], row.fold, row.case, reason))
    return compared, problems


def _agree(ours: float, theirs: float | None) -> bool:
    if theirs is None or math.isnan(theirs):
        return math.isnan(ours)
    return abs(ours - theirs) <= AGREES


def _read(file: Path) -> dict[str, dict]:
    """{case: {values of the class: metrics}}; empty where there is no such file."""
    if not file.is_file():
        return {}
    try:
        cases = json.loads(file.read_text(encoding="utf-8"))["metric_per_case"]
        return {
            stem_of(Path(case["prediction_file"].replace("\\", "/"))): {
                frozenset(map(int, re.findall(r"\d+", key))): metrics for key, metrics in case["metrics"].items()
            }
            for case in cases
        }
    except (KeyError, TypeError, ValueError):  # another program's file of this name
        return {}
