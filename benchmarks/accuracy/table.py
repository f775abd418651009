"""Renders the page of results: every number in it is computed here from the runs, and none is written by hand.

    python benchmarks/accuracy/table.py          docs/results.md from benchmarks/results/accuracy.json and config.yaml

The workflow's last rule does the same.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from gather import read as read_runs
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matrix import Column, Matrix, Run, read

from nnunet_mamba.files import replacing
from nnunet_mamba.report.statistics import compare, holm, summarise

HERE = Path(__file__).resolve().parent
TEMPLATE = "results.md.j2"
NO_VALUE = "–"
METRICS = {"dice": 2, "iou": 2, "soft_dice": 2, "hd95": 2}  # digits: overlap in percent
Result = Mapping[str, Any]


def write_page(matrix: Matrix, results: Path, page: Path) -> None:
    """Render `page` from the runs in `results`."""
    pictures = {name for name, column in matrix.columns.items() if picture_of(page, column).exists()}
    text = render(matrix, read_runs(results), pictures)
    page.parent.mkdir(parents=True, exist_ok=True)
    with replacing(page) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def picture_of(page: Path, column: Column) -> Path:
    """The picture of a column's worst cases, beside the page; see worst.py."""
    return page.with_name(f"{page.stem}_{column.name}.png")


def render(matrix: Matrix, results: Sequence[Result], pictures: Collection[str] = ()) -> str:
    """The page as Markdown. Runs that were made with other settings than the matrix has are left out and counted.

    Args:
        pictures: the columns that have a picture of their worst cases.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    used = [result for result in results if is_of(matrix, result)]
    columns = [_column(matrix, column, used) for column in matrix.columns.values() if not column.choices]
    choices = [_choices(matrix, column, used) for column in matrix.columns.values() if column.choices]
    return environment.get_template(TEMPLATE).render(
        columns=columns,
        choices=choices,
        pictures=pictures,
        any_run=bool(used),
        first=matrix.rows[matrix.first].what,
        left_out=len(results) - len(used),
        versions=sorted({" ".join(f"{k} {v}" for k, v in result["versions"].items()) for result in used}),
    )


def is_of(matrix: Matrix, result: Result) -> bool:
    """Whether the matrix still has the run that gave `result`, with the same settings."""
    column, row = matrix.columns.get(result["column"]), matrix.rows.get(result["row"])
    ensemble = matrix.ensembles.get(result["row"])
    if column is not None and ensemble is not None:
        members = [Run(column, matrix.rows[name], result["fold"], result["seed"]).trainer for name in ensemble.of]
        return (column.settings, members) == (result["settings"], result.get("of"))
    if column is None or row is None:
        return False
    run = Run(column, row, result["fold"], result["seed"])
    return (column.settings, run.trainer, run.plans) == tuple(result[key] for key in ("settings", "trainer", "plans"))


def _by_row(matrix: Matrix, column: Column, results: Sequence[Result]) -> dict[str, list[Result]]:
    """The runs in `column` of each row that runs there, and then of ensembles."""
    names = [name for name, row in matrix.rows.items() if row.group in column.groups]
    names += [] if column.choices else matrix.ensembles
    return {
        name: [result for result in results if (result["column"], result["row"]) == (column.name, name)]
        for name in names
    }


def _about(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "title": column.title,
        "worst": column.worst,
        "images_seen": f"{column.images_seen:,}",
        "epochs": column.epochs,
        "iterations": column.iterations,
        "batch": column.batch,
        "patch": "x".join(map(str, column.patch)),
        "convert": f"{column.dataset} {column.convert}",
    }


def _column(matrix: Matrix, column: Column, results: Sequence[Result]) -> dict[str, Any]:
    by_row = _by_row(matrix, column, results)
    of_column = [result for runs in by_row.values() for result in runs]
    there = {name: runs for name, runs in by_row.items() if runs}
    others = [name for name in there if name != matrix.first]
    ps = [compared(there.get(matrix.first, ()), there[name]) for name in others]
    corrected = dict(zip(others, holm(ps), strict=True))
    what = {name: each.what for name, each in (matrix.rows | matrix.ensembles).items()}
    rows = [_row(what[name], runs, corrected.get(name, math.nan)) for name, runs in there.items()]
    trained = [result for result in of_column if result["row"] in matrix.rows]
    return _about(column) | {
        "cases": len({case for result in of_column for case in result["cases"]}),
        "unit": ", ".join(sorted({result["unit"] for result in of_column})),
        "machines": sorted({_machine(result) for result in trained}),
        "rows": rows,
        "missing": [what[name] for name in by_row if name not in there],
        "runs": [_run(what[name], result) for name in there for result in there[name]],
    }


def _choices(matrix: Matrix, column: Column, results: Sequence[Result]) -> dict[str, Any]:
    """Each recipe, and how far each changed one is from the one that it changes, case by case."""
    there = {name: runs for name, runs in _by_row(matrix, column, results).items() if runs}
    before = {name: matrix.unchanged(matrix.rows[name]) for name in there}
    changed = {name: there[row.name] for name, row in before.items() if row and row.name in there}
    corrected = dict(zip(changed, holm([compared(changed[name], there[name]) for name in changed]), strict=True))
    rows = []
    for name, runs in there.items():
        cells = {metric: interval(mean_per_case(runs, metric), metric) for metric in ("dice", "iou")}
        difference, p = NO_VALUE, math.nan
        if name in changed:
            difference, p = interval(differences(changed[name], runs), "dice", "+"), corrected[name]
        seeds = ", ".join(number(mean_of([run]), "dice") for run in sorted(runs, key=lambda run: run["seed"]))
        rows.append({"what": matrix.rows[name].what, **cells, "seeds": seeds, "difference": difference, "p": _p(p)})
    cases = {case for runs in there.values() for result in runs for case in result["cases"]}
    runs = [_run(matrix.rows[name].what, result) for name in there for result in there[name]]
    return _about(column) | {"cases": len(cases), "rows": rows, "runs": runs}


def _row(what: str, runs: Sequence[Result], p: float) -> dict[str, Any]:
    cells = {metric: interval(mean_per_case(runs, metric), metric) for metric in METRICS}
    return cells | {
        "what": what,
        "p": _p(p),
        "seconds": _span([run["seconds_per_step"] for run in runs if "seconds_per_step" in run], "{:.3g} s"),
        "memory": _span([run["peak_bytes"] / 2**30 for run in runs if "peak_bytes" in run], "{:.2f} GiB"),
        "parameters": _span([run["parameters"] / 1e6 for run in runs], "{:.2f} M"),
        "runs": len(runs),
    }


def _run(what: str, result: Result) -> dict[str, Any]:
    cells = {}
    for metric in METRICS:
        values = list(mean_per_case([result], metric).values())
        cells[metric] = number(sum(values) / len(values), metric) if values else NO_VALUE
    keys = "fold", "seed", "commit", "command", "started"
    return cells | {"what": what} | {key: result[key] for key in keys}


def mean_per_case(runs: Sequence[Result], metric: str) -> dict[str, float]:
    """{case: mean over the runs that have a value for it}."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for case, values in run["cases"].items():
            if metric in values:
                found.setdefault(case, []).append(values[metric])
    return {case: math.fsum(values) / len(values) for case, values in found.items()}


def mean_of(runs: Sequence[Result]) -> float:
    """The mean Dice of the cases; NaN without any."""
    values = list(mean_per_case(runs, "dice").values())
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
    if not found.cases:
        return NO_VALUE
    mean, low, high = (number(value, metric, sign) for value in (found.mean, found.low, found.high))
    return mean if math.isnan(found.low) else f"{mean} ({low} to {high})"


def number(value: float, metric: str, sign: str = "-") -> str:
    """Overlap in percent, as the papers give it; distances as they are."""
    return f"{value if metric == 'hd95' else 100 * value:{sign}.{METRICS[metric]}f}"


def _p(p: float) -> str:
    return NO_VALUE if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _machine(result: Result) -> str:
    machine = result["machine"]
    if machine["device"] == "cpu":
        return f"CPU, {machine['threads']} thread{'s' * (machine['threads'] != 1)}"
    return machine["processor"]


def _span(values: Sequence[float], text: str) -> str:
    if not values:  # of an ensemble
        return NO_VALUE
    low, high = text.format(min(values)), text.format(max(values))
    return low if low == high else f"{low.rpartition(' ')[0]} to {high}"


def main() -> None:
    import yaml

    config = yaml.safe_load((HERE / "config.yaml").read_text(encoding="utf-8"))
    write_page(read(config), HERE / config["results"], HERE / config["page"])


if __name__ == "__main__":
    main()
