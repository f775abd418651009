"""How good a candidate is: mean IoU and Dice over the search cases."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Fitness(NamedTuple):
    """Means over cases and foreground classes, of those that are there in truth or prediction; 0 to 1."""

    mean_iou: float
    mean_dice: float

    @property
    def value(self) -> float:
        """What the search maximises: the mean of both."""
        return (self.mean_iou + self.mean_dice) / 2


def fitness_of(counts: Tensor) -> Fitness:
    """Of true positive, false positive and false negative pixels, (cases, classes, 3)."""
    tp, fp, fn = counts.double().unbind(2)
    there = tp + fp + fn > 0
    if not there.any():
        return Fitness(0.0, 0.0)
    iou = (tp / (tp + fp + fn))[there]
    dice = (2 * tp / (2 * tp + fp + fn))[there]
    return Fitness(iou.mean().item(), dice.mean().item())


def count(logits: Tensor, truth: Tensor, counted: Tensor, regions: bool) -> Tensor:
    """True positive, false positive and false negative pixels of each foreground class.

    Args:
        logits: (B, K, H, W), K classes with the background, or regions.
        truth: (B, foreground classes, H, W) bool.
        counted: (B, 1, H, W) bool, false where a pixel is not to be judged.
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
    """A piece of a search case, of the patch size."""

    case: int
    image: np.ndarray  # (C, H, W) float32
    truth: np.ndarray  # (foreground classes, H, W) bool
    counted: np.ndarray  # (1, H, W) bool, false where padded, ignored, or counted by another tile


def tiles_of(
    case: int,
    image: np.ndarray,
    segmentation: np.ndarray,
    patch_size: Sequence[int],
    classes: Sequence[int | Sequence[int]],
    ignore_label: int | None,
) -> list[Tile]:
    """A preprocessed case cut into tiles that count each of its pixels once.

    Args:
        image: (C, Z, H, W), its slices being the first spatial axis, as nnU-Net cuts a volume for 2-D.
        segmentation: (Z, H, W) integer labels, negative where nnU-Net found nothing in the image.
        classes: a label, or the labels of a region, for each foreground class.
    """
    height, width = segmentation.shape[1:]
    tiles = []
    for z in range(len(segmentation)):
        for top, new_top in _starts(height, patch_size[0]):
            for left, new_left in _starts(width, patch_size[1]):
                rows, columns = slice(top, top + patch_size[0]), slice(left, left + patch_size[1])
                labels = _padded(segmentation[z, rows, columns], patch_size, 0)
                counted = np.zeros((1, *patch_size), bool)
                counted[0, new_top - top : height - top, new_left - left : width - left] = True
                if ignore_label is not None:
                    counted &= labels != ignore_label
                truth = np.stack([np.isin(labels, label) for label in classes])
                tiles.append(Tile(case, _padded(image[:, z, rows, columns], patch_size, 0.0), truth, counted))
    return tiles


def _starts(length: int, patch: int) -> list[tuple[int, int]]:
    """Where tiles start along an axis, and where what they count starts; the last one reaches back to stay inside."""
    return [(max(min(start, length - patch), 0), start) for start in range(0, length, patch)]


def _padded(array: np.ndarray, size: Sequence[int], value: float) -> np.ndarray:
    missing = [wanted - got for wanted, got in zip(size, array.shape[-2:], strict=True)]
    return np.pad(array, [(0, 0)] * (array.ndim - 2) + [(0, m) for m in missing], constant_values=value)
