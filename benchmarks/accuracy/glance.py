"""All data sets of the page of results at a glance: the rows of one table, and the picture of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from cells import NO_VALUE, Result, mean_of, mean_per_case, number, runs_by_row
from matrix import Column, Matrix

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
        iou: their mean.
        paper: (Dice, IoU) that the network's paper reports, in percent.
    """

    dice: Summary
    iou: float
    paper: tuple[float, float] | None

    def __str__(self) -> str:
        return f"{number(self.dice.mean, 'dice')} / {number(self.iou, 'iou')}" if self.dice.cases else NO_VALUE

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
    tested = [column for column in matrix.columns.values() if not column.choices]
    found = [(column, runs_by_row(matrix, column, results)) for column in tested]
    there = [(column, runs) for column, runs in found if any(runs.values())]
    lines = []
    for name in [*matrix.rows, *matrix.ensembles]:
        if any(runs.get(name) for _, runs in there):
            paper = matrix.papers.get(name)
            cells = [_cell(runs[name], paper.numbers.get(column.name) if paper else None) for column, runs in there]
            group = matrix.rows[name].group if name in matrix.rows else "ensemble"
            what = (matrix.rows | matrix.ensembles)[name].what
            lines.append(Line(what, group, name == matrix.first, paper.what if paper else None, cells))
    return [column for column, _ in there], lines


def _cell(runs: Sequence[Result], paper: tuple[float, float] | None) -> Cell:
    return Cell(summarise(list(mean_per_case(runs, "dice").values())), mean_of(runs, "iou"), paper)


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
