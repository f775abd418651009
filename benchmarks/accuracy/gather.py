"""Gathers the numbers of runs: from their evaluations, and from what their trainings recorded, into one file.

The file keeps the runs of other machines and of other parts of the matrix. A run that is made again replaces itself.
"""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matrix import Matrix, Run, Together, Varied, home

from nnunet_mamba.files import replacing

METRICS = "dice", "iou", "soft_dice", "hd95"
RECORD = "accuracy_run.json"  # see trainers/accuracy_trainers.py


def gather(matrix: Matrix, work: str | Path, results: Path) -> None:
    """Add the numbers of the runs of `matrix` below `work` to `results`.

    Raises:
        ValueError: a training saw other images, patches or plans than its column and row say.
        OSError: a run is not there, or `results` cannot be written.
    """
    runs = {key_of(run): run for run in read(results)}
    for run in matrix.runs:
        runs[run.key] = numbers(run, Path(work))
    for together in matrix.together:
        runs[together.key] = numbers_together(together, Path(work), [runs[run.key] for run in together.runs])
    for varied in matrix.varied:
        runs[varied.key] = numbers_varied(varied, Path(work), runs[varied.run.key])
    write(results, list(runs.values()))


def read(results: Path) -> list[dict[str, Any]]:
    """The runs so far; none without a file."""
    return json.loads(results.read_text(encoding="utf-8"))["runs"] if results.is_file() else []


def write(results: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    """A line per run, so that a change of one is a change of one line."""
    lines = ",\n".join(json.dumps(run, allow_nan=False) for run in sorted(runs, key=key_of))
    results.parent.mkdir(parents=True, exist_ok=True)
    with replacing(results) as unfinished:
        unfinished.write_text(f'{{"runs": [\n{lines}\n]}}\n' if runs else '{"runs": []}\n', encoding="utf-8")


def key_of(run: Mapping[str, Any]) -> tuple[str, str, str, int]:
    return run["column"], run["row"], run["fold"], run["seed"]


def numbers(run: Run, work: Path) -> dict[str, Any]:
    """What `run` gave: numbers per test case, or per validation case for choices, and where they come from."""
    column = home(work, run.column)
    fold = Path(run.column.dataset_folder, run.model, f"fold_{run.fold}")
    trained = column / "nnUNet_results" / fold
    record = json.loads((trained / RECORD).read_text(encoding="utf-8"))
    _check_record(run, record, trained)
    planned = column / "nnUNet_preprocessed" / run.column.dataset_folder / f"{run.plans}.json"
    _check_plans(trained.parent / "plans.json", planned)
    steps = max(record["runs"], key=lambda part: part["steps"])  # of the longest part, if it was stopped
    parts = sorted(record["runs"], key=lambda part: part["started"])
    return {
        "column": run.column.name,
        "row": run.row.name,
        "fold": run.fold,
        "seed": run.seed,
        "settings": run.column.settings,
        "trainer": run.trainer,
        "plans": run.plans,
        "command": parts[0]["command"],
        "commit": ", ".join(dict.fromkeys(part["commit"] for part in parts)),
        "versions": parts[-1]["versions"],
        "started": parts[0]["started"],
        "machine": {"device": steps["device"], "processor": steps["processor"], "threads": steps["threads"]},
        "parameters": record["parameters"],
        "seconds_per_step": round(steps["seconds_per_step"], 4),
        "peak_bytes": max(part["peak_bytes"] for part in parts),
        **(_validated(trained) if run.column.choices else _tested(column / "evaluations" / fold)),
    }


def numbers_together(together: Together, work: Path, members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the runs of an ensemble gave together; `members` are what each gave."""
    column, row, fold, seed = together.key
    return {
        "column": column,
        "row": row,
        "fold": fold,
        "seed": seed,
        "settings": together.column.settings,
        "of": [member["trainer"] for member in members],
        "command": together.command,
        "commit": ", ".join(dict.fromkeys(commit for member in members for commit in member["commit"].split(", "))),
        "versions": members[-1]["versions"],
        "started": max(member["started"] for member in members),
        "parameters": sum(member["parameters"] for member in members),
        **_tested(home(work, together.column) / "evaluations" / together.column.dataset_folder / together.folder),
    }


def numbers_varied(varied: Varied, work: Path, usual: Mapping[str, Any]) -> dict[str, Any]:
    """What a variant of a run's predictions gave; `usual` is what the run gave."""
    column, row, fold, seed = varied.key
    settings = varied.run.column
    return {
        "column": column,
        "row": row,
        "fold": fold,
        "seed": seed,
        "settings": settings.settings,
        "of": [usual["trainer"]],
        "command": varied.command,
        "commit": usual["commit"],
        "versions": usual["versions"],
        "started": usual["started"],
        **_tested(home(work, settings) / "evaluations" / settings.dataset_folder / varied.folder),
    }


def _tested(evaluation: Path) -> dict[str, Any]:
    summary = json.loads((evaluation / "summary.json").read_text(encoding="utf-8"))
    return {"unit": summary["about"]["unit"], "cases": per_case(evaluation / "metrics.csv")}


def _validated(trained: Path) -> dict[str, Any]:
    """From nnU-Net's own evaluation of the validation cases; classes without a value are left out of a case's mean."""
    summary = json.loads((trained / "validation" / "summary.json").read_text(encoding="utf-8"))
    cases: dict[str, dict[str, float]] = {}
    for case in summary["metric_per_case"]:
        of_case = cases.setdefault(Path(case["prediction_file"]).stem, {})
        for metric, name in (("dice", "Dice"), ("iou", "IoU")):
            values = [found[name] for found in case["metrics"].values() if math.isfinite(found[name])]
            if values:
                of_case[metric] = round(math.fsum(values) / len(values), 5)
    return {"cases": cases}


def per_case(metrics: Path) -> dict[str, dict[str, float]]:
    """{case: {metric: value}}, each the mean over the classes that have a value; a metric without one is left out."""
    found: dict[str, dict[str, list[float]]] = {}
    with open(metrics, newline="", encoding="utf-8") as opened:
        for row in csv.DictReader(opened):
            of_case = found.setdefault(row["case"], {})
            for metric in METRICS:
                if row.get(metric):
                    of_case.setdefault(metric, []).append(float(row[metric]))
    return {
        case: {metric: round(math.fsum(values) / len(values), 5) for metric, values in of_case.items()}
        for case, of_case in found.items()
    }


def _check_record(run: Run, record: Mapping[str, Any], folder: Path) -> None:
    column = run.column
    wanted = {
        "seed": run.seed,
        "epochs": column.epochs,
        "images_seen": column.images_seen,
        "patch_size": list(column.patch),
        "batch_size": column.batch,
    }
    if differing := [f"{key} {record[key]} (wanted {value})" for key, value in wanted.items() if record[key] != value]:
        raise ValueError(
            f"{folder}: this training has {', '.join(differing)}. It is not comparable with the others of its column: "
            "remove the folder and run again"
        )


def _check_plans(used: Path, planned: Path) -> None:
    of_training, now = (
        json.loads(file.read_text(encoding="utf-8"))["configurations"]["2d"] for file in (used, planned)
    )
    if of_training != now:
        raise ValueError(
            f"{used}: this training used other plans than {planned} has now. Remove {used.parent} and run again, or "
            "give the changed plans another name in config.yaml"
        )
