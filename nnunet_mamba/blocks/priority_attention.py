"""Priority attention: what a convolution changes most gets the largest weight (DA-MambaNet, Nguyen et al. 2025)."""

import torch
from torch import Tensor, nn

from nnunet_mamba.blocks.grouped import GroupedConv2d


class PriorityChannelAttention(nn.Module):
    """A 9x9 depthwise convolution, gated by its channel means; the gate grows with the softmax of their change.

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, dim: int):
        super().__init__()
        self.depthwise = GroupedConv2d(dim, dim, 9, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        convolved = self.depthwise(x)
        before, after = (t.mean((2, 3), keepdim=True) for t in (x, convolved))
        priority = (after - before).softmax(1)
        return convolved * torch.sigmoid(after * (1 + priority))


class PrioritySpatialAttention(nn.Module):
    """Gates each pixel by three channel means: of the map, of its mixed columns, and of its mixed rows.

    One weight matrix mixes the columns and one the rows, so a module only fits one map size.

    The published code weighs the three means by a softmax that runs over the images of a batch (`nn.Softmax2d` of a 3-D
    tensor). An image's gate then depends on the rest of its batch, and prediction, one image at a time, has other
    gates than training. Here the images are independent: the result is the published one for a batch of one, where that
    softmax is 1. The published module also has a 1x1 convolution that it never uses: it is kept, frozen, so that
    published weights load.

    Args:
        size: (H, W) of the map.
        softmax_over_batch: True restores the published softmax over the batch.
    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, dim: int, size: tuple[int, int], softmax_over_batch: bool = False):
        super().__init__()
        height, width = size
        self.softmax_over_batch = softmax_over_batch
        self.unused = nn.Conv2d(dim, dim, 1).requires_grad_(False)
        self.mix_columns = nn.Conv2d(width, width, 1)
        self.mix_rows = nn.Conv2d(height, height, 1)

    def forward(self, x: Tensor) -> Tensor:
        # Mixing columns (or rows) commutes with the mean over channels: mix the mean, which is smaller than the map.
        mean = x.mean(1, keepdim=True)  # (B, 1, H, W)
        by_columns = self.mix_columns(mean.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        by_rows = self.mix_rows(mean.transpose(1, 2)).transpose(1, 2)
        gates = [after * (1 + self._priority(after - mean)) for after in (mean, by_columns, by_rows)]
        return x * torch.sigmoid(gates[0] + gates[1] + gates[2])

    def _priority(self, change: Tensor) -> Tensor | float:
        return change.softmax(0) if self.softmax_over_batch else 1.0
