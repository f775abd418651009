"""The fitness of a candidate: mean IoU and Dice over the search cases."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Fitness(NamedTuple):
    """Means from 0 to 1 over all pairs of case and foreground class that occur in the truth or the prediction."""

    mean_iou: float
    mean_dice: float

    @property
    def value(self) -> float:
        """The mean of both, which the search maximises."""
        return (self.mean_iou + self.mean_dice) / 2


def fitness_of(counts: Tensor) -> Fitness:
    """The fitness from counts of true positive, false positive and false negative pixels, (cases, classes, 3)."""
    tp, fp, fn = counts.double().unbind(2)
    occurs = tp + fp + fn > 0
    if not occurs.any():
        return Fitness(mean_iou=0.0, mean_dice=0.0)
    iou = (tp / (tp + fp + fn))[occurs]
    dice = (2 * tp / (2 * tp + fp + fn))[occurs]
    return Fitness(iou.mean().item(), dice.mean().item())


def count(logits: Tensor, truth: Tensor, counted: Tensor, regions: bool) -> Tensor:
    """True positive, false positive and false negative pixels per foreground class.

    Args:
        logits: (B, K, H, W): K classes including the background, or K regions.
        truth: (B, foreground classes, H, W) bool.
        counted: (B, 1, H, W) bool, false for pixels to leave out.
    Returns:
        (B, foreground classes, 3) integers.
    """
    if regions:
        predicted = logits > 0
    else:
        classes = torch.arange(1, logits.shape[1], device=logits.device)
        predicted = logits.argmax(1, keepdim=True) == classes.view(1, -1, 1, 1)
    parts = (predicted & truth, predicted & ~truth, ~predicted & truth)
    return torch.stack([(part & counted).sum((2, 3)) for part in parts], dim=2)


class Tile(NamedTuple):
    """A patch-sized piece of a search case."""

    case: int
    image: np.ndarray  # (C, H, W) float32
    truth: np.ndarray  # (foreground classes, H, W) bool
    counted: np.ndarray  # (1, H, W) bool, false if padded, ignored, or counted in another tile


def tiles_of(
    case: int,
    image: np.ndarray,
    segmentation: np.ndarray,
    patch_size: Sequence[int],
    classes: Sequence[int | Sequence[int]],
    ignore_label: int | None,
) -> list[Tile]:
    """Cuts a preprocessed case into tiles that together count each pixel once.

    Args:
        image: (C, Z, H, W). Z counts the slices of the volume, as in nnU-Net's 2d configurations.
        segmentation: (Z, H, W) integer labels; negative outside of nnU-Net's nonzero mask.
        classes: per foreground class its label, or the labels of its region.
    """
    height, width = segmentation.shape[1:]
    tiles = []
    for z in range(len(segmentation)):
        for top, new_top in _starts(height, patch_size[0]):
            for left, new_left in _starts(width, patch_size[1]):
                rows, columns = slice(top, top + patch_size[0]), slice(left, left + patch_size[1])
                labels = _padded(segmentation[z, rows, columns], patch_size)
                counted = np.zeros((1, *patch_size), bool)
                counted[0, new_top - top : height - top, new_left - left : width - left] = True
                if ignore_label is not None:
                    counted &= labels != ignore_label
                truth = np.stack([np.isin(labels, label) for label in classes])
                tiles.append(Tile(case, _padded(image[:, z, rows, columns], patch_size), truth, counted))
    return tiles


def _starts(length: int, patch: int) -> list[tuple[int, int]]:
    """(start of a tile, start of what it counts) along an axis; the last tile is moved back into the image."""
    return [(max(min(start, length - patch), 0), start) for start in range(0, length, patch)]


def _padded(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """`array` with zeros below and to the right up to `size`."""
    missing = [wanted - got for wanted, got in zip(size, array.shape[-2:], strict=True)]
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + [(0, m) for m in missing])
