"""Selective kernels: branches of different reach, with a softmax over branches per channel (SKNet, Li et al. 2019)."""

from functools import reduce

import torch
from torch import Tensor, nn

from nnunet_mamba.blocks.grouped import GroupedConv2d
from nnunet_mamba.blocks.norm import PooledBatchNorm2d


class SelectiveKernelConv(nn.Module):
    """A weighted sum of convolutions with dilation 1, 2, ...; the weights come from the pooled sum of all branches.

    Args:
        reduction, min_dim: the pooled sum is squeezed to max(channels // reduction, min_dim) channels.
    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        branches: int = 2,
        groups: int = 16,
        reduction: int = 4,
        min_dim: int = 32,
    ):
        super().__init__()
        squeezed = max(channels // reduction, min_dim)
        self.branches = nn.ModuleList(
            nn.Sequential(
                GroupedConv2d(
                    channels,
                    channels,
                    kernel_size,
                    dilation=dilation,
                    groups=groups,
                    bias=False,
                ),
                PooledBatchNorm2d(channels),
                nn.ReLU(inplace=True),
            )
            for dilation in range(1, branches + 1)
        )
        self.squeeze = nn.Sequential(
            nn.Conv2d(channels, squeezed, 1, bias=False), PooledBatchNorm2d(squeezed), nn.ReLU(inplace=True)
        )
        self.select = nn.ModuleList(nn.Conv2d(squeezed, channels, 1) for _ in range(branches))

    def forward(self, x: Tensor) -> Tensor:
        maps = [branch(x) for branch in self.branches]  # not stacked: that would make them channels first
        squeezed = self.squeeze(reduce(torch.add, maps).mean((2, 3), keepdim=True))
        weights = torch.stack([select(squeezed) for select in self.select]).softmax(0)
        return reduce(torch.add, map(torch.mul, maps, weights))


class SelectiveKernelUnit(nn.Module):
    """DA-MambaNet's bottleneck: 1x1, selective-kernel and 1x1 convolution with a residual (Nguyen et al. 2025).

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, channels: int, kernel_size: int = 3, groups: int = 16, reduction: int = 2):
        super().__init__()
        self.reduce = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False), PooledBatchNorm2d(channels), nn.ReLU(inplace=True)
        )
        self.selective = SelectiveKernelConv(channels, kernel_size, groups=groups, reduction=reduction)
        self.expand = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), PooledBatchNorm2d(channels))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x + self.expand(self.selective(self.reduce(x))))
