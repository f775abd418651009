"""The numbers of one class of one prediction.

Overlap follows nnU-Net. Distances are MONAI's, between the centres of boundary pixels: HD95 is the larger of the two
directions' 95th percentiles, ASSD the mean over the boundary pixels of both masks, NSD the share of these that lie
within the tolerance of the other boundary.

Empty masks: where truth and prediction are both empty, no number has a value, and the case is left out of the means.
Where only one of them is empty, overlap and NSD are 0, HD95 and ASSD the diagonal of the image: the largest
distance that there can be, so that it never pays to miss a structure.
"""

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NAN = float("nan")


class Metric(NamedTuple):
    """A number's key, how it is written, what it means, and whether more is better."""

    key: str
    name: str
    meaning: str
    more_is_better: bool = True
    is_distance: bool = False


DICE = Metric("dice", "Dice", "2 TP / (2 TP + FP + FN)")
OVERLAP = (
    DICE,
    Metric("iou", "IoU", "TP / (TP + FP + FN)"),
    Metric("precision", "Precision", "TP / (TP + FP)"),
    Metric("recall", "Recall", "TP / (TP + FN)"),
)
DISTANCES = (
    Metric(
        "hd95", "HD95", "95th percentile of the distances between the boundaries, the larger direction", False, True
    ),
    Metric("assd", "ASSD", "mean distance between the boundaries, over the boundary pixels of both", False, True),
    Metric("nsd", "NSD", "share of both boundaries within the tolerance of the other"),
)
SOFT_DICE = Metric("soft_dice", "Soft Dice", "2 sum(p t) / (sum(p) + sum(t)), with the probabilities p")


def metrics_of(distances: bool, soft: bool) -> list[Metric]:
    """The metrics of a report, in their order."""
    return [*OVERLAP, *(DISTANCES if distances else ()), *((SOFT_DICE,) if soft else ())]


def distances_installed() -> bool:
    """Whether MONAI is there."""
    from importlib.util import find_spec

    return find_spec("monai") is not None


class Emptiness(NamedTuple):
    """Whether a class is in the truth and in the prediction."""

    truth: bool
    prediction: bool


def overlap(
    truth: np.ndarray, prediction: np.ndarray, ignored: np.ndarray | None
) -> tuple[dict[str, float], Emptiness]:
    """Dice, IoU, precision and recall, and which of the masks is empty.

    Shape:
        truth, prediction, ignored: bool, the same shape. Pixels that are `ignored` do not count.
    """
    if ignored is not None:
        truth, prediction = truth & ~ignored, prediction & ~ignored
    hits = int(np.count_nonzero(truth & prediction))
    in_truth, in_prediction = int(np.count_nonzero(truth)), int(np.count_nonzero(prediction))
    union = in_truth + in_prediction - hits
    empty = Emptiness(in_truth == 0, in_prediction == 0)
    if union == 0:
        return {metric.key: NAN for metric in OVERLAP}, empty
    return {
        "dice": 2 * hits / (in_truth + in_prediction),
        "iou": hits / union,
        "precision": hits / in_prediction if in_prediction else 0.0,
        "recall": hits / in_truth if in_truth else 0.0,
    }, empty


def distances(
    truth: np.ndarray,
    prediction: np.ndarray,
    ignored: np.ndarray | None,
    spacing: Sequence[float],
    tolerance: float,
) -> dict[str, float]:
    """HD95 and ASSD in the unit of `spacing`, and NSD at `tolerance` in that unit.

    Pixels that are `ignored` have no boundary, and none begins where they begin.

    Shape:
        truth, prediction, ignored: bool, the same (H, W) or (D, H, W). spacing: a number per axis.
    """
    seen = (truth, prediction) if ignored is None else (truth & ~ignored, prediction & ~ignored)
    in_truth, in_prediction = (bool(mask.any()) for mask in seen)
    if not in_truth and not in_prediction:
        return {metric.key: NAN for metric in DISTANCES}
    if not in_truth or not in_prediction:
        diagonal = math.hypot(*(length * size for length, size in zip(spacing, truth.shape, strict=True)))
        return {"hd95": diagonal, "assd": diagonal, "nsd": 0.0}
    if ignored is not None:
        truth = np.where(ignored, prediction, truth)  # whatever was predicted there is taken to be right
    there, back = _boundary_distances(truth, prediction, ignored, spacing)
    both = np.concatenate([there, back])
    if not len(there) or not len(back):  # one boundary lies where it is ignored
        return {metric.key: NAN for metric in DISTANCES}
    return {
        "hd95": float(max(np.quantile(there, 0.95), np.quantile(back, 0.95))),
        "assd": float(both.mean(dtype=np.float64)),
        "nsd": float(np.mean(both <= tolerance)),
    }


def _boundary_distances(
    truth: np.ndarray, prediction: np.ndarray, ignored: np.ndarray | None, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Distances of the prediction's boundary pixels to the truth's boundary, and the other way round.

    One call of MONAI for all three numbers: its compute_... functions would each find the boundaries again.
    """
    import torch
    from monai.metrics.utils import get_edge_surface_distance

    shown, mask = [prediction, truth], None
    if ignored is not None:  # with a mask, MONAI does not see the image's edge
        *shown, kept = (np.pad(x, 1) for x in (prediction, truth, ~ignored))
        mask = torch.from_numpy(kept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a boundary that lies where it is ignored
        _, found, _ = get_edge_surface_distance(
            torch.from_numpy(shown[0]),
            torch.from_numpy(shown[1]),
            spacing=[float(length) for length in spacing],
            symmetric=True,
            mask=mask,
            warn_empty=False,
        )
    there, back = (x.numpy() for x in found)
    return there[np.isfinite(there)], back[np.isfinite(back)]


def soft_dice(probability: np.ndarray, truth: np.ndarray, ignored: np.ndarray | None) -> float:
    """The Dice of probabilities against a mask; NaN where both are nothing.

    Shape:
        probability: float; truth, ignored: bool, the same shape.
    """
    if ignored is not None:
        probability, truth = probability[~ignored], truth[~ignored]
    total = float(probability.sum(dtype=np.float64)) + float(np.count_nonzero(truth))
    return 2 * float(probability[truth].sum(dtype=np.float64)) / total if total else NAN
