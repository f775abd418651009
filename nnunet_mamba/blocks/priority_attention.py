"""Priority attention: what a convolution changes most is weighed most (DA-MambaNet, Nguyen et al. 2025)."""

import torch
from torch import Tensor, nn


class PriorityChannelAttention(nn.Module):
    """A 9x9 depthwise convolution gated by its channel means, raised by the softmax over channels of their change.

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, dim: int):
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 9, padding=4, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        convolved = self.depthwise(x)
        before, after = (t.mean((2, 3), keepdim=True) for t in (x, convolved))
        priority = (after - before).softmax(1)
        return convolved * torch.sigmoid(after * (1 + priority))


class PrioritySpatialAttention(nn.Module):
    """Gates each pixel by channel means: of the map, of its columns mixed with each other, and of its rows mixed.

    Rows and columns are mixed by one weight matrix each, so a module serves one map size. The published code weighs the
    three means by a softmax that in fact runs over the images of a batch (`nn.Softmax2d` of a 3-D tensor): an image's gate
    depends on its neighbours, and prediction, one image at a time, sees other gates than training did. Here each image
    stands for itself, which is the published network at a batch of one, where that softmax is 1.
    `softmax_over_batch` restores the published batch behaviour.

    The published module also holds a 1x1 convolution whose result it drops: it is kept, frozen, for its place in
    published weights.

    Args:
        size: (H, W) of the map.
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
        # A weighted sum over columns (or rows) and a mean over channels commute: mix the mean, not the map.
        mean = x.mean(1, keepdim=True)  # (B, 1, H, W)
        by_columns = self.mix_columns(mean.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        by_rows = self.mix_rows(mean.transpose(1, 2)).transpose(1, 2)
        gate = sum(after * (1 + self._priority(after - mean)) for after in (mean, by_columns, by_rows))
        return x * torch.sigmoid(gate)

    def _priority(self, change: Tensor) -> Tensor | float:
        return change.softmax(0) if self.softmax_over_batch else 1.0
