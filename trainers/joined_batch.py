"""A way around a fault of nnU-Net's Dice in distributed training."""

from torch import Tensor, nn


class JoinedBatch(nn.Module):
    """nnU-Net's Dice over a batch, of the batch's images put together as one, which has the same sums.

    In distributed training nnU-Net 2.8.1 gathers the sums of each image from all processes as tensors that must be of one size,
    but itself splits a batch of 13 for two GPUs into 7 and 6: the training ends with an error, or waits for ever. Of one image
    in each process there are as many everywhere.
    """

    def __init__(self, dice: nn.Module):
        super().__init__()
        self.dice = dice

    def forward(self, logits: Tensor, target: Tensor, loss_mask: Tensor | None = None) -> Tensor:
        return self.dice(_joined(logits), _joined(target), loss_mask=None if loss_mask is None else _joined(loss_mask))


def _joined(maps: Tensor) -> Tensor:
    """(B, K, H, ...) as (1, K, B * H, ...)."""
    return maps.transpose(0, 1).flatten(1, 2)[None]
