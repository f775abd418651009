"""metrics.csv and summary.json."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_mamba.files import replacing
from nnunet_mamba.report.comparison import Comparison
from nnunet_mamba.report.metrics import Metric
from nnunet_mamba.report.results import Results, Table


def write_csv(file: Path, comparison: Comparison, results: Results, metrics: Sequence[Metric]) -> None:
    """A row per case, class, trainer and fold; an empty field where a number has no value."""
    with replacing(file) as unfinished, open(unfinished, "w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        keys = [metric.key for metric in metrics]
        writer.writerow(["case", "class", "trainer", "fold", "group", *keys, "truth_empty", "prediction_empty"])
        for row in results.rows:
            for label, numbers, empty in zip(comparison.labels, row.numbers, row.empty, strict=True):
                values = ["" if math.isnan(numbers[key]) else repr(numbers[key]) for key in keys]
                trainer, group = comparison.trainers[row.trainer], comparison.groups.get(row.case, "")
                writer.writerow([row.case, label.name, trainer, row.fold, group, *values, *map(int, empty)])


def summary(
    comparison: Comparison, results: Results, tables: Sequence[Table], metrics: Sequence[Metric], about: Mapping
) -> dict[str, Any]:
    """The tables of the page, its problems and how it was made, for other programs; None: has no value."""
    by_class = {}
    for table in tables:
        by_class[table.label] = {
            name: {
                "metrics": {
                    metric.key: cell.summary._asdict()
                    | ({"against_first": cell.paired._asdict()} if cell.paired else {})
                    for metric, cell in zip(metrics, table.cells[index], strict=True)
                },
                "folds": {
                    fold: {metric.key: each._asdict() for metric, each in zip(metrics, summaries, strict=True)}
                    for fold, summaries in table.folds[index].items()
                },
                "empty": dict(zip(("both", "only_prediction", "only_truth"), table.empty[index], strict=True)),
            }
            for index, name in enumerate(comparison.trainers)
        }
    return {
        "trainers": list(comparison.trainers),
        "first": comparison.trainers[0],
        "classes": {label.name: list(label.values) for label in comparison.labels},
        "cases": len(comparison.cases),
        "results": by_class,
        "problems": [problem._asdict() for problem in results.problems],
        "metrics": {metric.key: asdict_of(metric) for metric in metrics},
        "about": dict(about),
    }


def asdict_of(metric: Metric) -> dict[str, Any]:
    """What a metric is, without its key."""
    return {"name": metric.name, "meaning": metric.meaning, "more_is_better": metric.more_is_better}


def write_json(file: Path, content: Mapping) -> None:
    """Write `content`; NaN become null, which JSON knows."""
    with replacing(file) as unfinished:
        unfinished.write_text(json.dumps(without_nan(content), indent=2, allow_nan=False), encoding="utf-8")


def without_nan(content: Any) -> Any:
    """The same with None for each NaN."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {key: without_nan(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_nan(value) for value in content]
    return content
