"""Ways around two faults of nnU-Net's Dice and cross entropy in distributed training."""

import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from torch import Tensor, distributed, nn

from nnunet_mamba.losses.soft_counts import truth_maps


class JoinedLoss(nn.Module):
    """nnU-Net's Dice and cross entropy in distributed training: the mean over all processes is the joined batch's.

    In nnU-Net 2.8.1 each process takes its own mean. The mean of these means is another number if the processes'
    batches differ in size or in their number of ignored pixels. Here each mean is weighted by its number of pixels or
    images.

    Args:
        loss: nnU-Net's DC_and_CE_loss or DC_and_BCE_loss; each call sets its weights.
        batch_dice: whether its Dice is one for the whole batch.
        ignore_label: label whose pixels do not count, or None.
    """

    def __init__(self, loss: DC_and_CE_loss | DC_and_BCE_loss, batch_dice: bool, ignore_label: int | None):
        super().__init__()
        self.loss = loss
        self.batch_dice = batch_dice
        self.ignore_label = ignore_label
        self.weight_ce, self.weight_dice = loss.weight_ce, loss.weight_dice
        if batch_dice:
            loss.dc = JoinedBatch(loss.dc)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        _, known = truth_maps(logits, target, self.ignore_label)
        sizes = torch.stack([known.sum(), known.new_tensor(len(target))])
        totals = sizes.clone()
        distributed.all_reduce(totals)
        of_pixels, of_images = distributed.get_world_size() * sizes / totals.clamp_min(1)
        self.loss.weight_ce = self.weight_ce * of_pixels
        self.loss.weight_dice = self.weight_dice if self.batch_dice else self.weight_dice * of_images
        return self.loss(logits, target)


class JoinedBatch(nn.Module):
    """nnU-Net's Dice over a batch, with the batch's images joined into one, which has the same sums.

    In distributed training nnU-Net 2.8.1 gathers the sums of each image from all processes, as tensors of one size. But
    it splits a batch of 13 for two GPUs into 7 and 6: the training ends with an error or hangs. With one joined image
    per process the sizes agree.
    """

    def __init__(self, dice: nn.Module):
        super().__init__()
        self.dice = dice

    def forward(self, logits: Tensor, target: Tensor, loss_mask: Tensor | None = None) -> Tensor:
        mask = None if loss_mask is None else _joined(loss_mask)
        return self.dice(_joined(logits), _joined(target), loss_mask=mask)


def _joined(maps: Tensor) -> Tensor:
    """(B, K, H, ...) as (1, K, B * H, ...)."""
    return maps.transpose(0, 1).flatten(1, 2)[None]
