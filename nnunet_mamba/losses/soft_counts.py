"""Soft true and false positives and negatives, from logits and a target in any form that segmentation uses."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, distributed
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy


class SoftCounts(NamedTuple):
    """Sums of probabilities in pixels, float32: (K,) per batch, or (B, K) per image, of K foreground classes."""

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor


def soft_counts(
    logits: Tensor, truth: Tensor, known: Tensor, batch_dice: bool, weight: Tensor | None = None
) -> SoftCounts:
    """Counts per foreground class or region; `weight` (B, K, ...) says how much each pixel counts.

    Softmax if truth has one map fewer than logits (the counts leave out the background, class 0), else sigmoid. In
    distributed training, `batch_dice` counts over the batches of all processes, and gradients flow to each.

    Shape:
        logits: (B, K, ...) float, no activation applied. truth, known: as from `truth_maps`.
    """
    logits = logits.float()
    if truth.shape[1] == logits.shape[1]:
        probabilities = torch.sigmoid(logits)
    else:
        probabilities = logits.softmax(1)[:, 1:]
    if weight is not None:
        known = known * weight
    positive, negative = probabilities * known, (1 - probabilities) * known
    return SoftCounts(
        *pixel_sums((positive * truth, positive * (1 - truth), negative * truth, negative * (1 - truth)), batch_dice)
    )


def pixel_sums(maps: Sequence[Tensor], batch_dice: bool) -> Tensor:
    """Sums over the pixels of maps (B, K, ...): (maps, B, K); with `batch_dice` (maps, K) over all processes."""
    axes = tuple(range(2, maps[0].dim()))
    if batch_dice:
        axes = (0, *axes)
    sums = torch.stack([x.sum(axes) for x in maps])
    return over_processes(sums) if batch_dice else sums


def pixel_cross_entropy(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Cross entropy, the mean over the known pixels of all processes (and over the channels of a sigmoid).

    Shape:
        logits: (B, K, ...). truth, known: as from `truth_maps`.
    """
    if truth.shape[1] == logits.shape[1]:
        pixelwise = binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(1, keepdim=True)
    else:
        numbers = torch.arange(1, logits.shape[1], device=truth.device).view(1, -1, *[1] * (truth.dim() - 2))
        labels = (truth * numbers).sum(1).long()
        pixelwise = cross_entropy(logits, labels, reduction="none")[:, None]
    return mean_over_processes(pixelwise, known)


def mean_over_processes(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """The weighted mean of all elements of all processes' tensors; 0 if all weights are 0.

    Not the mean of the processes' means: their batches may differ in size and in the number of ignored pixels.
    """
    weight = torch.ones_like(values) if weight is None else weight.expand_as(values)
    total, weights = over_processes(torch.stack([(values * weight).sum(), weight.sum()]))
    return total / torch.where(weights > 0, weights, 1)


def over_processes(sums: Tensor) -> Tensor:
    """The sum over all processes of a distributed training.

    Backward sums too. That makes each gradient too large by the number of processes, which DistributedDataParallel
    divides by.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return sums
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(sums)


def truth_maps(logits: Tensor, target: Tensor, ignore_label: int | None) -> tuple[Tensor, Tensor]:
    """The truth per foreground class or region, and where it is known; both float. Uses only the shape of `logits`.

    Shape:
        logits: (B, K, ...).
        target: (B, 1, ...) integer labels below K, the background being 0; if K = 1, 0 and 1. Or (B, K, ...) with
            K > 1: one 0/1 map per region. With an ignore label, labels may also be `ignore_label`, and regions come
            with one more map, (B, K + 1, ...), which is 1 for pixels to ignore.
        Result: (B, K - 1, ...) for labels, or (B, K, ...) for regions and for K = 1; and (B, 1, ...).
    Raises:
        ValueError: logits and target disagree in shape, or the target holds other values.
    """
    batch, classes = logits.shape[:2]
    maps = target.shape[1] if target.dim() == logits.dim() else 0
    regions = maps == classes and classes > 1 or maps == classes + 1 and ignore_label is not None
    if target.shape[:1] != (batch,) or target.shape[2:] != logits.shape[2:] or not (regions or maps == 1):
        raise ValueError(
            f"target: got shape {tuple(target.shape)} for logits {tuple(logits.shape)}, wanted (B, 1, ...) labels or "
            f"(B, {classes}, ...) regions of the same batch and size"
        )
    if regions:
        _check_range(target, 1, None)
        target = target.float()
        known = 1 - target[:, classes:] if maps > classes else torch.ones_like(target[:, :1])
        return target[:, :classes], known

    highest = max(classes - 1, 1)
    _check_range(target, highest, ignore_label)
    known = torch.ones_like(target, dtype=torch.float32) if ignore_label is None else (target != ignore_label).float()
    if classes == 1:
        return (target == 1).float(), known
    labels = torch.arange(1, classes, device=target.device).view(1, -1, *[1] * (target.dim() - 2))
    return (target == labels).float(), known


def _check_range(target: Tensor, highest: int, ignore_label: int | None) -> None:
    wrong = (target < 0) | (target > highest)
    if ignore_label is not None:
        wrong &= target != ignore_label
    if wrong.any():
        also = "" if ignore_label is None else f" or the ignore label {ignore_label}"
        raise ValueError(
            f"target: got the value {target[wrong][0].item():g}, wanted 0 to {highest}{also}: "
            "check the labels in dataset.json against the number of output channels of the network"
        )
