"""Renders the page of results: every number in it is computed here from the runs, and none is written by hand.

    python benchmarks/accuracy/table.py          docs/results.md from benchmarks/results/accuracy.json and config.yaml

The workflow's last rule does the same.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cells import (
    METRICS,
    NO_VALUE,
    Result,
    compared,
    differences,
    interval,
    machine_of,
    mean_of,
    mean_per_case,
    number,
    p_text,
    runs_by_row,
    span,
    varied_runs,
)
from gather import read as read_runs
from glance import draw, glance_of
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matrix import Column, Matrix, Run, read

from nnunet_mamba.files import replacing
from nnunet_mamba.report.statistics import holm

HERE = Path(__file__).resolve().parent
TEMPLATE = "results.md.j2"


def write_page(matrix: Matrix, results: Path, page: Path) -> None:
    """Render `page` from the runs in `results`."""
    pictures = {name for name, column in matrix.columns.items() if picture_of(page, column).exists()}
    runs = read_runs(results)
    text = render(matrix, runs, pictures)
    page.parent.mkdir(parents=True, exist_ok=True)
    with replacing(page) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    columns, lines = glance_of(matrix, used_of(matrix, runs))
    if lines:
        draw(columns, lines, page.with_suffix(".png"))


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
    used = used_of(matrix, results)
    columns = [_column(matrix, column, used) for column in matrix.columns.values() if not column.choices]
    choices = [_choices(matrix, column, used) for column in matrix.columns.values() if column.choices]
    return environment.get_template(TEMPLATE).render(
        columns=columns,
        choices=choices,
        glance=dict(zip(("columns", "lines"), glance_of(matrix, used), strict=True)),
        variants=[variant.what for variant in matrix.variants.values()],
        pictures=pictures,
        any_run=bool(used),
        first=matrix.rows[matrix.first].what,
        left_out=len(results) - len(used),
        versions=sorted({" ".join(f"{k} {v}" for k, v in result["versions"].items()) for result in used}),
    )


def used_of(matrix: Matrix, results: Sequence[Result]) -> list[Result]:
    return [result for result in results if is_of(matrix, result)]


def is_of(matrix: Matrix, result: Result) -> bool:
    """Whether the matrix still has the run that gave `result`, with the same settings."""
    column, row = matrix.columns.get(result["column"]), matrix.rows.get(result["row"])
    ensemble = matrix.ensembles.get(result["row"])
    if column is not None and ensemble is not None:
        members = [Run(column, matrix.rows[name], result["fold"], result["seed"]).trainer for name in ensemble.of]
        return (column.settings, members) == (result["settings"], result.get("of"))
    name, _, variant = result["row"].partition("__")
    if column is not None and variant in matrix.variants and name in matrix.rows:
        of = Run(column, matrix.rows[name], result["fold"], result["seed"])
        return (column.settings, [of.trainer]) == (result["settings"], result.get("of"))
    if column is None or row is None:
        return False
    run = Run(column, row, result["fold"], result["seed"])
    return (column.settings, run.trainer, run.plans) == tuple(result[key] for key in ("settings", "trainer", "plans"))


def _about(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "title": column.title,
        "note": column.note,
        "worst": column.worst,
        "images_seen": f"{column.images_seen:,}",
        "epochs": column.epochs,
        "iterations": column.iterations,
        "batch": column.batch,
        "patch": "x".join(map(str, column.patch)),
        "convert": f"{column.dataset} {column.convert}",
    }


def _column(matrix: Matrix, column: Column, results: Sequence[Result]) -> dict[str, Any]:
    by_row = runs_by_row(matrix, column, results)
    of_column = [result for runs in by_row.values() for result in runs]
    there = {name: runs for name, runs in by_row.items() if runs}
    others = [name for name in there if name != matrix.first]
    ps = [compared(there.get(matrix.first, ()), there[name]) for name in others]
    corrected = dict(zip(others, holm(ps), strict=True))
    what = {name: each.what for name, each in (matrix.rows | matrix.ensembles).items()}
    rows = [_row(what[name], runs, corrected.get(name, math.nan)) for name, runs in there.items()]
    varied = {name: varied_runs(matrix, column, results, name) for name in there}
    runs = []
    for name in there:
        runs += [_run(what[name], result) for result in there[name]]
        for variant, again in varied[name].items():
            runs += [_run(f"{what[name]}, {matrix.variants[variant].what}", result) for result in again]
    trained = [result for result in of_column if result["row"] in matrix.rows]
    return _about(column) | {
        "cases": len({case for result in of_column for case in result["cases"]}),
        "unit": ", ".join(sorted({result["unit"] for result in of_column})),
        "machines": sorted({machine_of(result) for result in trained}),
        "rows": rows,
        "varied": [_varied(matrix, what[name], there[name], varied[name]) for name in there if varied[name]],
        "missing": [what[name] for name in by_row if name not in there],
        "runs": runs,
    }


def _varied(matrix: Matrix, what: str, runs: Sequence[Result], otherwise: Mapping[str, Sequence[Result]]) -> dict:
    """The line of a row: what each variant gives, and how far it is from the usual predictions, case by case."""
    cells = []
    for variant in matrix.variants:
        varied = otherwise.get(variant, ())
        values = [number(mean_of(varied, metric), metric) for metric in ("dice", "iou")]
        difference = interval(differences(runs, varied), "dice", "+") if varied else NO_VALUE
        cells.append({"numbers": " / ".join(values) if varied else NO_VALUE, "difference": difference})
    return {"what": what, "cells": cells}


def _choices(matrix: Matrix, column: Column, results: Sequence[Result]) -> dict[str, Any]:
    """Each recipe, and how far each changed one is from the one that it changes, case by case."""
    there = {name: runs for name, runs in runs_by_row(matrix, column, results).items() if runs}
    before = {name: matrix.unchanged(matrix.rows[name]) for name in there}
    changed = {name: there[row.name] for name, row in before.items() if row and row.name in there}
    corrected = dict(zip(changed, holm([compared(changed[name], there[name]) for name in changed]), strict=True))
    rows = []
    for name, runs in there.items():
        cells = {metric: interval(mean_per_case(runs, metric), metric) for metric in ("dice", "iou")}
        difference, p = NO_VALUE, math.nan
        if name in changed:
            difference, p = interval(differences(changed[name], runs), "dice", "+"), corrected[name]
        seeds = ", ".join(number(mean_of([run], "dice"), "dice") for run in sorted(runs, key=lambda run: run["seed"]))
        rows.append({"what": matrix.rows[name].what, **cells, "seeds": seeds, "difference": difference, "p": p_text(p)})
    cases = {case for runs in there.values() for result in runs for case in result["cases"]}
    runs = [_run(matrix.rows[name].what, result) for name in there for result in there[name]]
    return _about(column) | {"cases": len(cases), "rows": rows, "runs": runs}


def _row(what: str, runs: Sequence[Result], p: float) -> dict[str, Any]:
    cells = {metric: interval(mean_per_case(runs, metric), metric) for metric in METRICS}
    return cells | {
        "what": what,
        "p": p_text(p),
        "seconds": span([run["seconds_per_step"] for run in runs if "seconds_per_step" in run], "{:.3g} s"),
        "memory": span([run["peak_bytes"] / 2**30 for run in runs if "peak_bytes" in run], "{:.2f} GiB"),
        "parameters": span([run["parameters"] / 1e6 for run in runs], "{:.2f} M"),
        "runs": len(runs),
    }


def _run(what: str, result: Result) -> dict[str, Any]:
    cells = {metric: number(mean_of([result], metric), metric) for metric in METRICS}
    keys = "fold", "seed", "commit", "command", "started"
    about = {
        "what": what,
        "step": span([result["seconds_per_step"]] if "seconds_per_step" in result else [], "{:.3g} s"),
        "machine": machine_of(result) if "machine" in result else NO_VALUE,
    }
    return cells | about | {key: result[key] for key in keys}


def main() -> None:
    import yaml

    config = yaml.safe_load((HERE / "config.yaml").read_text(encoding="utf-8"))
    write_page(read(config), HERE / config["results"], HERE / config["page"])


if __name__ == "__main__":
    main()
