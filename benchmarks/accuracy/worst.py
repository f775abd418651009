"""Draws the test cases that the rows of a column segment worst: outlines only, no image of a patient.

    python benchmarks/accuracy/worst.py --work benchmarks/accuracy/work --columns PH2

The workflow draws them, too: docs/results_COLUMN.png, from all predictions that are there.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import gather
import matplotlib
import numpy as np
from matrix import Column, Matrix, Run, home, read
from table import picture_of

from nnunet_mamba.files import replacing
from nnunet_mamba.report.reading import read_labels

matplotlib.use("Agg")
from matplotlib import pyplot as plt

HERE = Path(__file__).resolve().parent
CASES = 6
LONGEST_NAME = 20  # characters that have room above a panel
TRUTH, PREDICTION = "#a6cbe8", "#c2410c"  # differ for every kind of colour vision


def runs_there(matrix: Matrix, column: Column, work: Path) -> list[Run]:
    """The first run of each row in `column` that has been evaluated, asked for now or before.

    Of the folds and seeds that are asked for.
    """
    asked = dict.fromkeys((run.fold, run.seed) for run in matrix.runs if run.column == column)
    found: dict[str, Run] = {}
    for row in matrix.rows.values():
        for fold, seed in asked:
            run = Run(column, row, fold, seed)
            evaluated = home(work, column) / "evaluations" / column.dataset_folder / run.model / f"fold_{fold}"
            if row.group in column.groups and (evaluated / "metrics.csv").exists():
                found.setdefault(row.name, run)
    return list(found.values())


def worst_cases(dice: Sequence[dict[str, float]]) -> list[str]:
    """The cases with the lowest mean Dice of all rows, worst first."""
    common = set.intersection(*map(set, dice))
    return sorted(common, key=lambda case: (sum(of_row[case] for of_row in dice), case))[:CASES]


def short_names(cases: Sequence[str]) -> dict[str, str]:
    """Long names by as many of their first characters, from 12 on, as tell them apart."""
    length = next(n for n in range(12, 256) if len({case[:n] for case in cases}) == len(set(cases)))
    return {case: case if len(case) <= max(length, LONGEST_NAME) else f"{case[:length]}…" for case in cases}


def draw(matrix: Matrix, column: Column, work: Path, file: Path) -> bool:
    """Write `file`: a line of panels per row, the truth filled, the prediction as its outline; False without a run."""
    runs = runs_there(matrix, column, work)
    if not runs:
        return False
    folder = home(work, column)
    of_run = [Path(column.dataset_folder, run.model, f"fold_{run.fold}") for run in runs]
    dice = [
        {case: values["dice"] for case, values in cases.items() if "dice" in values}
        for cases in (gather.per_case(folder / "evaluations" / each / "metrics.csv") for each in of_run)
    ]
    cases = worst_cases(dice)
    shown = short_names(cases)
    height, width = column.patch
    size = 2.2 * len(cases), 2.2 * len(runs) * height / width + 0.35 * len(runs)
    figure, axes = plt.subplots(len(runs), len(cases), figsize=size, squeeze=False, layout="constrained")
    for run, path, values, line in zip(runs, of_run, dice, axes, strict=True):
        for case, panel in zip(cases, line, strict=True):
            truth, prediction = (
                _labels(each, case)
                for each in (
                    folder / "nnUNet_raw" / column.dataset_folder / "labelsTs",
                    folder / "predictions" / path,
                )
            )
            panel.contourf(truth, levels=[0.5, 1.5], colors=[TRUTH])
            panel.contour(prediction, levels=[0.5], colors=[PREDICTION], linewidths=1.2)
            panel.set(xticks=[], yticks=[], xlim=(0, truth.shape[1] - 1), ylim=(truth.shape[0] - 1, 0), aspect="equal")
            panel.set_title(f"{shown[case]}: {100 * values[case]:.0f}", fontsize=8)
        line[0].set_ylabel(run.row.what.replace(", ", "\n"), fontsize=8)
    with replacing(file) as unfinished:
        figure.savefig(unfinished, dpi=110, format="png", metadata={"Software": None})
    plt.close(figure)
    return True


def _labels(folder: Path, case: str) -> np.ndarray:
    """Foreground, (Y, X); with a frame of background, so that outlines at the rim are closed."""
    file = next(file for file in sorted(folder.glob(f"{case}.*")) if file.suffix not in (".npz", ".pkl"))
    return np.pad(read_labels(file, None).values[0] > 0, 1)


def main() -> None:
    import yaml

    config = yaml.safe_load((HERE / "config.yaml").read_text(encoding="utf-8"))
    matrix = read(config)
    tested = [name for name, column in matrix.columns.items() if not column.choices]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=HERE / "work")
    parser.add_argument("--columns", nargs="+", choices=tested, default=tested)
    args = parser.parse_args()
    for name in args.columns:
        file = picture_of(HERE / config["page"], matrix.columns[name])
        print(f"{name}: {file if draw(matrix, matrix.columns[name], args.work, file) else 'no run'}")


if __name__ == "__main__":
    main()
