"""ASFM, the loss of DA-MambaNet: precision times recall, blended linearly and non-linearly."""

import torch
from torch import Tensor, nn

from nnunet_mamba.losses.soft_counts import mean_over_processes, soft_counts


class ASFMLoss(nn.Module):
    """The adaptive loss on the squared Fowlkes-Mallows index (DA-MambaNet, Nguyen et al. 2025).

    M = TP^2 / ((TP + FP)(TP + FN)), precision times recall of soft counts; L = 2 (1 - M) / (1 + exp(-alpha M)); mean over
    foreground classes or regions (and over images without `batch_dice`). Always in float32, and as a product of two ratios:
    squared pixel counts overflow in half precision.

    Where a class is absent from the target (and so from TP and FN), the published formula gives M = 1: no loss and no
    gradient, whatever is predicted. Here M is then that of the complement, TN^2 / ((TN + FN)(TN + FP)) = TN / (TN + FP):
    the share of pixels that were rightly left alone, so false positives cost.

    In distributed training, the loss is that of the joined batches.

    Args:
        alpha: strength of the non-linear term; the paper's 0.25.
        batch_dice: one count for the whole batch, as published, or one for each image.
        ignore_label: label whose pixels do not count, or None.
    Shape:
        logits: (B, K, ...) float, no activation applied.
        target: (B, 1, ...) integer labels (softmax, background left out; sigmoid where K = 1), or (B, K, ...) regions
            (sigmoid; with an ignore label a last map more, 1 where to ignore).
        Result: a scalar in [0, 2 / (1 + 1)] up to rounding: 0 for a perfect prediction, 1 for none.
    Raises:
        ValueError: logits and target disagree in shape, or the target holds values that are no label.
    """

    hyper_parameters = {"asfm_alpha": "alpha"}  # attribute of a trainer: argument

    def __init__(self, alpha: float = 0.25, batch_dice: bool = True, ignore_label: int | None = None):
        super().__init__()
        self.alpha = alpha
        self.batch_dice = batch_dice
        self.ignore_label = ignore_label

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(device_type=logits.device.type, enabled=False):
            tp, fp, fn, tn = soft_counts(logits, target, self.batch_dice, self.ignore_label)
            present = tp + fn > 0
            index = torch.where(present, _ratio(tp, fp) * _ratio(tp, fn), _ratio(tn, fp))
            losses = 2 * (1 - index) / (1 + torch.exp(-self.alpha * index))
            return losses.mean() if self.batch_dice else mean_over_processes(losses)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, batch_dice={self.batch_dice}, ignore_label={self.ignore_label}"


def _ratio(hits: Tensor, misses: Tensor) -> Tensor:
    """hits / (hits + misses) of soft counts in pixels: 1 where there is nothing to hit and nothing was missed."""
    smooth = 1e-5
    return (hits + smooth) / (hits + misses + smooth)
