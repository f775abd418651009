"""What pulls a lost class back? The slope of ASFM along a path from a bad prediction to a good one.

    python benchmarks/class_gradients.py

Four generated images hold discs of 2 % of the pixels, one per class. All but the first are learned. The first is
lost in one of two ways: it is *missed* (its pixels go to the background), or *painted* (the background goes to it). The
logits move in a straight line from there, t = 0, to the right prediction, t = 1. -dL/dt says how hard the loss pulls.

Writes docs/class_gradients.png and benchmarks/results/class_gradients.json.
"""

import json
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from classes import BATCH, Scene, draw
from nnunet_mamba.losses import ASFMLoss

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "class_gradients.png"
RESULTS = Path(__file__).parent / "results" / "class_gradients.json"

CLASSES = (1, 2, 13)
LOSSES = {
    "published: M": {"index": "product", "cross_entropy": 0},
    "root of M": {"index": "root", "cross_entropy": 0},
    "root of M + cross entropy": {"index": "root", "cross_entropy": 1},
}
LEARNED, LOST = 16.0, 2.0  # logits of the right class, and minus those of the others: where learned, and in dispute
T = np.linspace(0, 1, 41)


def path(classes: int, painted: bool, softmax: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Logits at t = 0 and at t = 1, and the target."""
    labels = draw(Scene((0.02,) * classes), BATCH, np.random.default_rng(0))[1]
    labels[1:][labels[1:] == 1] = 0  # only the first image shows class 1: counts per image tell the others apart
    background, first, *others = (labels == i for i in range(classes + 1))
    disputed = background if painted else first
    truth = np.concatenate([background, first, *others], 1)
    good = np.where(truth, LEARNED, -LEARNED)
    good[:, :2] = np.where(disputed, np.where(truth[:, :2], LOST, -LOST), good[:, :2])
    bad = good.copy()
    bad[:, :2] = np.where(disputed, -good[:, :2], good[:, :2])
    if not softmax:
        truth, bad, good = truth[:, 1:], bad[:, 1:], good[:, 1:]
    target = labels if softmax else truth
    bad, good, target = (torch.from_numpy(array).float() for array in (bad, good, target))
    return bad, good, target


def slopes(loss: ASFMLoss, bad: Tensor, good: Tensor, target: Tensor) -> list[float]:
    """-dL/dt along the path."""
    found = []
    for at in T:
        t = torch.tensor(at, dtype=torch.float32, requires_grad=True)
        loss(bad + t * (good - bad), target).backward()
        found.append(-float(t.grad))
    return found


def measure() -> list[dict]:
    rows = []
    for softmax, batch_dice, classes, painted in product((True, False), (True, False), CLASSES, (False, True)):
        row = {"softmax": softmax, "batch_dice": batch_dice, "classes": classes, "painted": painted}
        for name, arguments in LOSSES.items():
            loss = ASFMLoss(batch_dice=batch_dice, **arguments)
            rows.append(row | {"loss": name, "slopes": slopes(loss, *path(classes, painted, softmax))})
    return rows


def plot(rows: list[dict]) -> None:
    import matplotlib.pyplot as plt

    kinds = list(product((True, False), (True, False)))
    figure, axes = plt.subplots(len(kinds), len(CLASSES), figsize=(10, 11), sharex=True, sharey=True, squeeze=False)
    for i, (softmax, batch_dice) in enumerate(kinds):
        for j, classes in enumerate(CLASSES):
            axis = axes[i, j]
            for row in rows:
                if (row["softmax"], row["batch_dice"], row["classes"]) == (softmax, batch_dice, classes):
                    colour = f"C{list(LOSSES).index(row['loss'])}"
                    how = "painted" if row["painted"] else "missed"
                    style = "--" if row["painted"] else "-"
                    axis.semilogy(T, row["slopes"], style, color=colour, label=f"{row['loss']}, {how}")
            activation, counts = "softmax" if softmax else "sigmoid", "batch" if batch_dice else "per image"
            axis.set_title(f"{classes} class{'es' * (classes > 1)}, {activation}, {counts}", fontsize=9)
            axis.grid(alpha=0.3)
    for axis in axes[-1]:
        axis.set_xlabel("t: from lost (0) to right (1)")
    for axis in axes[:, 0]:
        axis.set_ylabel("pull, $-dL/dt$")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="upper center", ncol=3, fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    figure.savefig(PICTURE, dpi=100)


def main() -> None:
    rows = measure()
    RESULTS.write_text(json.dumps({"t": T.tolist(), "logits": [LEARNED, LOST], "rows": rows}))
    plot(rows)
    for row in rows:
        if row["batch_dice"] and row["softmax"]:
            how = "painted" if row["painted"] else "missed"
            print(f"{row['classes']:2} classes, {how:7} {row['loss']:28} pull at t = 0: {row['slopes'][0]:.1e}")


if __name__ == "__main__":
    main()
