"""Sweep Mamba, DermoMamba's bottleneck: a map scanned with its channels, its height and its width as channels."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from nnunet_mamba.blocks.norm import PooledBatchNorm2d
from nnunet_mamba.blocks.ss2d import SS2D


class SweepMamba(nn.Module):
    """Three SS2D of one squeezed map, each taking another axis as channels, gated by SiLU of it (Hoang et al. 2025).

    The scan over the height axis walks maps of width by channels, that over the width axis maps of channels by height.
    Their weights belong to one height and width, so a module serves one map size. The published code fixes it at 6x8, the
    bottleneck of a 192x256 image; here it is an argument.

    Args:
        size: (H, W) of the map.
        ratio: channels are squeezed to `dim // ratio`.
    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, dim: int, size: Sequence[int], ratio: int = 8):
        super().__init__()
        height, width = size
        squeezed = dim // ratio
        self.norm_in = nn.LayerNorm(dim)
        self.squeeze = nn.Linear(dim, squeezed)
        self.over_channels = SS2D(squeezed)
        self.over_height = SS2D(height)
        self.over_width = SS2D(width)
        self.expand = nn.Linear(squeezed, dim)
        self.scale = nn.Parameter(torch.ones(1))
        self.norm = PooledBatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        squeezed = self.squeeze(self.norm_in(x))  # (B, H, W, C / ratio)
        swept = (
            self.over_channels(squeezed)
            + self.over_height(squeezed.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            + self.over_width(squeezed.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        )
        x = self.expand(silu(squeezed) * swept) + x * self.scale
        return self.norm(x.permute(0, 3, 1, 2)).relu()
