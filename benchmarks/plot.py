"""The benchmark's table as a picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def plot_results(results: dict, path: Path) -> None:
    """How many times faster than other scans, one bar per shape, on a logarithmic axis."""
    rows = results.get("scan", [])
    if not rows:
        return
    shapes = ["x".join(map(str, row["shape"])) for row in rows]
    keys = [key for key in rows[0] if "_over_" in key]
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    height = 0.8 / len(keys)
    for i, key in enumerate(keys):
        heights = [j + i * height for j in range(len(rows))]
        label = key.replace("_over_", ", over ").replace("both", "forward + backward")
        bars = axes.barh(heights, [row[key] for row in rows], height, label=label)
        axes.bar_label(bars, fmt="%.0fx", padding=3, fontsize=8)
    axes.set_yticks([j + 0.4 - height / 2 for j in range(len(rows))], shapes)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(1, 2 * max(row[key] for row in rows for key in keys))
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_xlabel("times faster")
    axes.set_ylabel("B x D x L, 16 states")
    axes.set_title(f"Selective scan on {results['on']['processor']}, {results['on']['threads']} threads")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
