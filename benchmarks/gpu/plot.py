"""The table as a picture: what became of the rows, the scan's speed, and the training steps."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from gpu.table import FAILED, LEFT_OUT, NOT_REACHED, PASSED

COLOURS = {PASSED: "tab:green", FAILED: "tab:red", LEFT_OUT: "tab:grey", NOT_REACHED: "lightgrey"}


def plot(machine: dict, rows: list[dict], file: Path) -> None:
    """Three panels, one below the other; a panel without figures says so."""
    figure, panels = plt.subplots(3, 1, figsize=(9, 12), layout="constrained", height_ratios=(1, 3, 3))
    title = f"{machine['processor']}, torch {machine['torch']}, triton {machine['triton']}"
    figure.suptitle(title + (": a dry run, no figures" if machine["dry"] else ""))
    _statuses(panels[0], rows)
    times = {row["row"]: row["facts"]["both_ms"] for row in rows if "both_ms" in row.get("facts", {})}
    _bars(panels[1], times, "scan, forward and backward, ms")
    steps = {row["row"]: {"step": row["facts"]["step_ms"]} for row in rows if "step_ms" in row.get("facts", {})}
    _bars(panels[2], steps, "training step, ms")
    figure.savefig(file, dpi=100)
    plt.close(figure)


def _statuses(axes, rows: list[dict]) -> None:
    parts = list(dict.fromkeys(row["part"] for row in rows))
    left = [0] * len(parts)
    for status, colour in COLOURS.items():
        counts = [sum(row["part"] == part and row["status"] == status for row in rows) for part in parts]
        bars = axes.barh(parts, counts, left=left, color=colour, label=status)
        axes.bar_label(bars, [count or "" for count in counts], label_type="center")
        left = [a + b for a, b in zip(left, counts)]
    axes.invert_yaxis()
    axes.set_xlabel("rows")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.3), ncols=len(COLOURS), frameon=False)


def _bars(axes, rows: dict[str, dict[str, float]], label: str) -> None:
    """One group of bars per row, one bar per name, on a logarithmic axis."""
    if not rows:
        axes.text(0.5, 0.5, f"{label}: not reached", ha="center")
        axes.set_axis_off()
        return
    names = list(dict.fromkeys(name for times in rows.values() for name in times))
    height = 0.8 / len(names)
    for i, name in enumerate(names):
        there = [(j + i * height, times[name]) for j, times in enumerate(rows.values()) if name in times]
        bars = axes.barh([place for place, _ in there], [time for _, time in there], height, label=name)
        axes.bar_label(bars, fmt="%.3g", padding=3, fontsize=7)
    axes.set_yticks([j + 0.4 - height / 2 for j in range(len(rows))], rows, fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel(label)
    if len(names) > 1:
        axes.legend(fontsize=8)
