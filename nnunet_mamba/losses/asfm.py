"""ASFM, the loss of DA-MambaNet: precision times recall, blended linearly and non-linearly."""

import torch
from torch import Tensor, nn

from nnunet_mamba.losses.soft_counts import mean_over_processes, pixel_cross_entropy, soft_counts, truth_maps

INDICES = ("product", "root")


class ASFMLoss(nn.Module):
    """The adaptive loss on the squared Fowlkes-Mallows index (DA-MambaNet, Nguyen et al. 2025).

    M = TP^2 / ((TP + FP)(TP + FN)), precision times recall of soft counts; L = 2 (1 - M) / (1 + exp(-alpha M)). The
    result is the mean over foreground classes or regions (and over images without `batch_dice`). Always in float32, and
    as a product of two ratios: squared pixel counts overflow in half precision.

    The paper has one class, which is never rare. With several, the published formula loses the rare ones: the slope of
    M is proportional to precision and to recall, so a class that starts badly has next to no gradient beside a class
    that was learned, and stays lost. So with several foreground classes or regions, the square root of M (the
    Fowlkes-Mallows index itself) replaces M, and cross entropy is added: it has a gradient at every wrong pixel.

    Where a class is absent from the target (so TP = FN = 0), the published formula gives M = 1: no loss and no
    gradient, whatever is predicted. Here M is then TN / (TN + FP), its value for the complement: the share of pixels
    where the class is rightly not predicted, so false positives cost.

    In distributed training, the loss is computed over the joined batches.

    Args:
        alpha: strength of the non-linear term; the paper's 0.25.
        batch_dice: one count for the whole batch, as published, or one per image.
        ignore_label: label whose pixels do not count, or None.
        index: "product" is the published M, "root" its square root. None: "root" with several foreground classes or
            regions, "product" with one.
        cross_entropy: weight of the cross entropy. None: 1 with several foreground classes or regions, 0 with one.
    Shape:
        logits: (B, K, ...) float, no activation applied.
        target: (B, 1, ...) integer labels (softmax, background left out; sigmoid where K = 1), or (B, K, ...) regions
            (sigmoid; with an ignore label one more map, 1 for pixels to ignore).
        Result: a scalar. Without cross entropy it is in [0, 1] up to rounding: 0 for a perfect prediction, 1 for none.
    Raises:
        ValueError: unknown index, logits and target differ in shape, or the target holds values that are no label.
    """

    hyper_parameters = {  # attribute of a trainer: argument
        "asfm_alpha": "alpha",
        "asfm_index": "index",
        "asfm_cross_entropy": "cross_entropy",
    }
    # beside nnU-Net's own network and recipe, the published formula loses even a single class of 0.1 %
    nnunet_hyper_parameters = {"asfm_index": "root", "asfm_cross_entropy": 1.0}

    def __init__(
        self,
        alpha: float = 0.25,
        batch_dice: bool = True,
        ignore_label: int | None = None,
        index: str | None = None,
        cross_entropy: float | None = None,
    ):
        super().__init__()
        if index not in (None, *INDICES):
            raise ValueError(f"index: got {index!r}, wanted one of {', '.join(INDICES)}, or None")
        self.alpha = alpha
        self.batch_dice = batch_dice
        self.ignore_label = ignore_label
        self.index = index
        self.cross_entropy = cross_entropy

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        with torch.autocast(device_type=logits.device.type, enabled=False):
            logits = logits.float()
            truth, known = truth_maps(logits, target, self.ignore_label)
            tp, fp, fn, tn = soft_counts(logits, truth, known, self.batch_dice)
            several = tp.shape[-1] > 1
            index = torch.where(tp + fn > 0, _ratio(tp, fp) * _ratio(tp, fn), _ratio(tn, fp))
            if (self.index or ("root" if several else "product")) == "root":
                index = index.sqrt()
            losses = 2 * (1 - index) / (1 + torch.exp(-self.alpha * index))
            loss = losses.mean() if self.batch_dice else mean_over_processes(losses)
            weight = float(several) if self.cross_entropy is None else self.cross_entropy
            if weight:
                loss = loss + weight * pixel_cross_entropy(logits, truth, known)
            return loss

    def extra_repr(self) -> str:
        return (
            f"alpha={self.alpha}, batch_dice={self.batch_dice}, ignore_label={self.ignore_label}, "
            f"index={self.index!r}, cross_entropy={self.cross_entropy}"
        )


def _ratio(hits: Tensor, misses: Tensor) -> Tensor:
    """hits / (hits + misses) of soft counts in pixels: 1 where there is nothing to hit and nothing was missed."""
    smooth = 1e-5
    return (hits + smooth) / (hits + misses + smooth)
