"""ASFM, the loss of DA-MambaNet: precision times recall, blended linearly and non-linearly."""

import torch
from torch import Tensor, nn

from nnunet_mamba.losses.soft_counts import mean_over_processes, pixel_cross_entropy, soft_counts, truth_maps


class ASFMLoss(nn.Module):
    """The adaptive loss on the squared Fowlkes-Mallows index (DA-MambaNet, Nguyen et al. 2025).

    M = TP^2 / ((TP + FP)(TP + FN)), precision times recall of soft counts; L = 2 (1 - M) / (1 + exp(-alpha M)). The
    result is the mean over foreground classes or regions (and over images without `batch_dice`), plus cross entropy
    where there are several. Always in float32, and as a product of two ratios: squared pixel counts overflow in half
    precision.

    The paper has one class, which is never rare. With several, M loses the rare ones: its slope is proportional to
    precision and to recall, so a class that starts badly has next to no gradient beside one that was learned, and stays
    where it is. Cross entropy has a gradient at every wrong pixel. So it is added where there are several foreground
    classes or regions; with one, the loss is the published formula.

    Where a class is absent from the target (and so from TP and FN), the published formula gives M = 1: no loss and no
    gradient, whatever is predicted. Here M is then that of the complement, TN^2 / ((TN + FN)(TN + FP)) = TN / (TN + FP):
    the share of pixels that were rightly left alone, so false positives cost.

    In distributed training, the loss is that of the joined batches.

    Args:
        alpha: strength of the non-linear term; the paper's 0.25.
        batch_dice: one count for the whole batch, as published, or one per image.
        ignore_label: label whose pixels do not count, or None.
        cross_entropy: weight of the cross entropy; 0 is the published formula. None: 1 with several foreground classes
            or regions, 0 with one.
    Shape:
        logits: (B, K, ...) float, no activation applied.
        target: (B, 1, ...) integer labels (softmax, background left out; sigmoid where K = 1), or (B, K, ...) regions
            (sigmoid; with an ignore label one more map, 1 where to ignore).
        Result: a scalar. Without cross entropy it is in [0, 1] up to rounding: 0 for a perfect prediction, 1 for none.
    Raises:
        ValueError: logits and target disagree in shape, or the target holds values that are no label.
    """

    hyper_parameters = {  # attribute of a trainer: argument
        "asfm_alpha": "alpha",
        "asfm_cross_entropy": "cross_entropy",
    }

    def __init__(
        self,
        alpha: float = 0.25,
        batch_dice: bool = True,
        ignore_label: int | None = None,
        cross_entropy: float | None = None,
    ):
        super().__init__()
        self.alpha = alpha
        self.batch_dice = batch_dice
        self.ignore_label = ignore_label
        self.cross_entropy = cross_entropy

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(device_type=logits.device.type, enabled=False):
            tp, fp, fn, tn = soft_counts(logits, target, self.batch_dice, self.ignore_label)
            present = tp + fn > 0
            index = torch.where(present, _ratio(tp, fp) * _ratio(tp, fn), _ratio(tn, fp))
            losses = 2 * (1 - index) / (1 + torch.exp(-self.alpha * index))
            loss = losses.mean() if self.batch_dice else mean_over_processes(losses)
            several = losses.shape[-1] > 1
            weight = float(several) if self.cross_entropy is None else self.cross_entropy
            if weight:
                truth, known = truth_maps(logits, target, self.ignore_label)
                loss = loss + weight * pixel_cross_entropy(logits.float(), truth, known)
            return loss

    def extra_repr(self) -> str:
        return (
            f"alpha={self.alpha}, batch_dice={self.batch_dice}, ignore_label={self.ignore_label}, "
            f"cross_entropy={self.cross_entropy}"
        )


def _ratio(hits: Tensor, misses: Tensor) -> Tensor:
    """hits / (hits + misses) of soft counts in pixels: 1 where there is nothing to hit and nothing was missed."""
    smooth = 1e-5
    return (hits + smooth) / (hits + misses + smooth)
