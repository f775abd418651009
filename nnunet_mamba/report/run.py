"""From a comparison to the report's files: index.html, metrics.csv and summary.json."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from nnunet_mamba.dataset_conversion.pipeline.parallel import open_workers
from nnunet_mamba.report import content, nnunet_summary
from nnunet_mamba.report.comparison import Comparison, Problem
from nnunet_mamba.report.cost_table import cost_content
from nnunet_mamba.report.measure import Job, Settings, measure
from nnunet_mamba.report.metrics import distances_installed, metrics_of
from nnunet_mamba.report.page import write_page
from nnunet_mamba.report.reading import VOLUMES, ending_of
from nnunet_mamba.report.results import collect, tables
from nnunet_mamba.report.written import summary, write_csv, write_json

# longest side of a picture, by the number of cases: few cases are shown larger
SIDES = ((400, 640), (1000, 384))
SMALL_SIDE = 256
VERSIONS = ("nnunet-mamba", "nnunetv2", "monai", "scipy", "numpy", "torch", "Pillow", "SimpleITK", "Jinja2")
UNFINISHED = ".unfinished_report"


class Options(NamedTuple):
    """How to report.

    Attributes:
        spacing: (y, x) in mm of images whose files have none; None: distances in pixels.
        tolerance: of NSD, in mm or pixels.
        soft_dice: whether to read the probabilities beside the predictions.
        processes: how many measure cases.
        side: longest side of pictures in pixels; None: by the number of cases.
        title: of the page; None: made of the names.
        command: what was typed.
    """

    spacing: tuple[float, float] | None = None
    tolerance: float = 2.0
    soft_dice: bool = False
    processes: int = 1
    side: int | None = None
    title: str | None = None
    command: str = ""


class Written(NamedTuple):
    """What was written: the page, its folder of pictures ('' if they are in it), and the problems."""

    page: Path
    picture_folder: str
    rows: int
    problems: list[Problem]
    numbers: dict[str, Any]


def write_report(comparison: Comparison, output: Path, options: Options) -> Written:
    """Measure every prediction and write the report into `output`.

    What was measured is kept in `output` until the report is whole: stopped and run again, it goes on.

    Raises:
        ValueError: an option is wrong, or no prediction could be measured; says what was wrong with the first ones.
        OSError: a file could not be written.
    """
    _check(comparison, options)
    output.mkdir(parents=True, exist_ok=True)
    unfinished = output / UNFINISHED
    unfinished.mkdir(exist_ok=True)
    settings = _settings(comparison, options)
    jobs = [Job(settings, case, unfinished) for case in comparison.cases]
    if not settings.distances:
        print('Distances are left out: they need MONAI, pip install "nnunet-mamba[report]"', file=sys.stderr)
    with open_workers(min(options.processes, max(1, len(jobs)))) as workers:
        files = workers.run(measure, jobs, "measuring")
    results = collect(comparison, files)
    if not results.rows:
        reasons = "; ".join(f"{p.case}: {p.reason}" for p in results.problems[:3])
        raise ValueError(f"no prediction could be measured ({reasons or 'there are none'})")
    agreed, differing = nnunet_summary.check(comparison, results.rows)
    results.problems += differing
    metrics = metrics_of(settings.distances, settings.soft)
    unit = "mm" if settings.in_mm else "px"
    made = tables(comparison, results.rows, metrics)
    costs = cost_content(comparison)
    about = {
        "command": options.command,
        "versions": _versions(),
        "unit": unit,
        "nsd_tolerance": options.tolerance,
        "empty_masks": content.EMPTY,
        "statistics": content.statistics_words(comparison),
        "agrees_with_nnunet": agreed,
    }
    numbers = summary(comparison, results, made, metrics, about)
    numbers["costs"] = costs
    write_csv(output / "metrics.csv", comparison, results, metrics)
    write_json(output / "summary.json", numbers)
    page = {
        "title": options.title or comparison.title,
        "trainers": comparison.trainers,
        "cases": len({row.case for row in results.rows}),
        "unit_words": "millimetres" if settings.in_mm else "pixels: the files have no spacing",
        "metrics": content.metric_content(metrics, unit, options.tolerance, _versions().get("monai", "")),
        "problems": results.problems,
        "tables": [content.table_content(table, comparison, results, metrics) for table in made],
        "costs": costs,
        "curves": content.curve_content(comparison),
        **content.split_content(comparison),
        "empty_words": content.EMPTY,
        "ignore": content.IGNORE if comparison.ignore is not None else "",
        "statistics_words": about["statistics"],
        "nnunet_words": _nnunet_words(agreed, len(differing)),
        "picture_words": f"At most {settings.side} pixels wide or high; outlines are drawn at that size, all numbers "
        "are of the full size. Of a volume, the slice with the largest error is shown, across the coarsest axis.",
        "accuracy": content.exactness_content(settings.distances),
        "command": options.command,
        "versions": _versions(),
        "folders": {"Truth": comparison.truth} | dict(zip(comparison.trainers, comparison.folders, strict=True)),
    }
    folder = write_page(output, comparison, results, metrics, settings.numbers, unit, page)
    shutil.rmtree(unfinished)
    return Written(output / "index.html", folder, len(results.rows), results.problems, numbers)


def _check(comparison: Comparison, options: Options) -> None:
    if options.processes < 1:
        raise ValueError(f"-np: got {options.processes}, wanted 1 or more")
    if not 0 <= options.tolerance < float("inf"):
        raise ValueError(f"--tolerance: got {options.tolerance:g}, wanted 0 or more")
    if options.spacing is not None and not all(0 < x < float("inf") for x in options.spacing):
        raise ValueError(
            f"--spacing: got {options.spacing[0]:g} {options.spacing[1]:g}, wanted two sizes in mm above 0"
        )
    if options.side is not None and options.side < 16:
        raise ValueError(f"--picture-size: got {options.side}, wanted 16 pixels or more")
    if not comparison.cases:
        raise ValueError(f"{comparison.truth}: no case has both a truth and a prediction")


def _settings(comparison: Comparison, options: Options) -> Settings:
    with_spacing = all(
        ending_of(case.truth) in VOLUMES and ending_of(case.truth) not in (".tif", ".tiff") for case in comparison.cases
    )
    side = next((side for cases, side in SIDES if len(comparison.cases) <= cases), SMALL_SIDE)
    return Settings(
        labels=tuple(comparison.labels),
        ignore=comparison.ignore,
        known=comparison.known,
        spacing=options.spacing,
        in_mm=with_spacing or options.spacing is not None,
        tolerance=options.tolerance,
        distances=distances_installed(),
        soft=options.soft_dice,
        side=options.side or side,
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _nnunet_words(agreed: int, differing: int) -> str:
    if not agreed:
        return ""
    return f"{agreed} values of Dice and IoU were compared with it; {differing} differ by more than 1e-6."


def printed(written: Written, trainers: Sequence[str]) -> str:
    """The result in a few lines for the terminal."""
    first: Mapping = next(iter(written.numbers["results"].values()))
    width = max(map(len, trainers))
    lines = []
    for name in trainers:
        values = {key: each["mean"] for key, each in first[name]["metrics"].items()}
        lines.append(f"{name:<{width}}  " + "  ".join(f"{key} {value:.3f}" for key, value in values.items()))
    lines.append(f"{written.rows} predictions: {written.page}")
    if written.picture_folder:
        lines.append(f"its pictures are in {written.page.parent / written.picture_folder}: keep both together")
    return "\n".join(lines)
