"""Sweep Mamba, DermoMamba's bottleneck: three scans of one map; each axis serves as channels once."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from nnunet_mamba.blocks.linear import Linear
from nnunet_mamba.blocks.norm import PooledBatchNorm2d
from nnunet_mamba.blocks.ss2d import SS2D


class SweepMamba(nn.Module):
    """Three SS2D on one squeezed map, each with another axis as channels, gated by SiLU of the map (Hoang et al. 2025).

    With the height as channels, the scan walks maps of width x channels; with the width, maps of channels x height.
    These two have weights per row and column, so a module only fits one map size. The published code fixes 6x8, the
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
        self.squeeze = Linear(dim, squeezed)
        self.over_channels = SS2D(squeezed)
        self.over_height = SS2D(height)
        self.over_width = SS2D(width)
        self.expand = Linear(squeezed, dim)
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
