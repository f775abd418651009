"""All data sets of the page of results at a glance: the rows of one table, and the picture of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from cells import NO_VALUE, Result, mean_per_case, number
from matrix import IN_TABLE, Column, Matrix

from nnunet_mamba.files import replacing
from nnunet_mamba.report.statistics import Summary, summarise

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLOURS = {"baseline": "#475569", "ours": "#c2410c", "tuned": "#c2410c", "ablation": "#0369a1", "ensemble": "#7e22ce"}
OF_PAPER = "#64748b"


@dataclass(frozen=True)
class Cell:
    """One row in one column.

    Attributes:
        dice: of the test cases, with its interval; of no cases without a run.
        iou: likewise.
        paper: (Dice, IoU) that the network's paper reports, in percent.
    """

    dice: Summary
    iou: Summary
    paper: tuple[float, float] | None

    def __str__(self) -> str:
        return f"{number(self.dice.mean, 'dice')} / {number(self.iou.mean, 'iou')}" if self.dice.cases else NO_VALUE

    @property
    def reported(self) -> str:
        return "{:.2f} / {:.2f}".format(*self.paper) if self.paper else NO_VALUE


@dataclass(frozen=True)
class Line:
    """A row with its cells, one per column; `paper` in words, if there is one."""

    what: str
    group: str
    first: bool
    paper: str | None
    cells: Sequence[Cell]


def glance_of(matrix: Matrix, results: Sequence[Result]) -> tuple[list[Column], list[Line]]:
    """The columns that have a run of `results`, and the rows and ensembles that have one in any of them."""
    runs: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        runs.setdefault((result["column"], result["row"]), []).append(result)
    columns = [
        column
        for column in matrix.columns.values()
        if not column.choices and any(name == column.name for name, _ in runs)
    ]
    groups: Mapping[str, tuple[str, str]] = {
        **{name: (row.what, row.group) for name, row in matrix.rows.items() if row.group in IN_TABLE},
        **{name: (ensemble.what, "ensemble") for name, ensemble in matrix.ensembles.items()},
    }
    lines = []
    for name, (what, group) in groups.items():
        paper = matrix.papers.get(name)
        cells = [
            _cell(runs.get((column.name, name), ()), paper.numbers.get(column.name) if paper else None)
            for column in columns
        ]
        if any(cell.dice.cases for cell in cells):
            lines.append(Line(what, group, name == matrix.first, paper.what if paper else None, cells))
    return columns, lines


def _cell(runs: Sequence[Result], paper: tuple[float, float] | None) -> Cell:
    dice, iou = (summarise(list(mean_per_case(runs, metric).values())) for metric in ("dice", "iou"))
    return Cell(dice, iou, paper)


def draw(columns: Sequence[Column], lines: Sequence[Line], file: Path) -> None:
    """Write `file`: a panel per column with mean Dice as a dot, its 95 % interval as a line, a paper's as a ring."""
    size = 2.6 + 1.45 * len(columns), 1.1 + 0.32 * len(lines)
    figure, panels = plt.subplots(1, len(columns), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for place, (panel, column) in enumerate(zip(panels[0], columns, strict=True)):
        for height, line in enumerate(lines):
            cell, colour = line.cells[place], COLOURS[line.group]
            if cell.paper:
                panel.plot(cell.paper[0], height, "o", markersize=6, markerfacecolor="none", markeredgecolor=OF_PAPER)
            if cell.dice.cases:
                mean, low, high = (100 * value for value in (cell.dice.mean, cell.dice.low, cell.dice.high))
                panel.plot([low, high], [height, height], color=colour, linewidth=1.6)
                panel.plot(mean, height, "o", color=colour, markersize=5)
                if line.first:
                    panel.axvline(mean, color=colour, linewidth=0.8, linestyle=":")
        panel.set_title(column.title.replace(", ", "\n"), fontsize=9)
        panel.grid(axis="x", color="#e2e8f0", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.tick_params(labelsize=8, length=0)
        panel.spines[["top", "right", "left"]].set_visible(False)
    panels[0][0].set_yticks(range(len(lines)), [line.what for line in lines])
    panels[0][0].set_ylim(len(lines) - 0.5, -0.5)
    figure.supxlabel("Dice in percent", fontsize=9)
    with replacing(file) as unfinished:
        figure.savefig(unfinished, dpi=110, format="png", metadata={"Software": None})
    plt.close(figure)
