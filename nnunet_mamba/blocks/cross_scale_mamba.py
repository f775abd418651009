"""Cross-Scale Mamba (CSMB) and DermoMamba's encoder stage around it (Hoang et al. 2025)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from nnunet_mamba.blocks.axial import AxialDepthwiseChain
from nnunet_mamba.blocks.norm import InstanceNorm2d
from nnunet_mamba.blocks.parts import parts
from nnunet_mamba.blocks.ss2d import VSSBlock


class CrossScaleMamba(nn.Module):
    """Axial chains of dilation 1, 2 and 3 and a VSS block on three quarters of the channels; the fourth is unchanged.

    The three quarters share one VSS block, so it runs once, on all three as one batch.

    Shape:
        (B, C, H, W) -> (B, C, H, W), C a multiple of 4.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.axial = nn.ModuleList(AxialDepthwiseChain(dim // 4, dilation) for dilation in (1, 2, 3))
        self.vss = VSSBlock(dim // 4)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        *quarters, passed = x.chunk(4, dim=1)
        reached = torch.cat([chain(part) for chain, part in zip(self.axial, quarters)])
        scanned = parts(self.vss(reached), 3)
        return self.norm(torch.cat([*scanned, passed], dim=1)).relu()


class ResidualCrossScaleMamba(nn.Module):
    """Cross-Scale Mamba, then a 3x3 convolution with instance norm and leaky ReLU, and a residual with a learned scale.

    As in the published code, the residual bypasses the convolution, not the Cross-Scale Mamba.

    Shape:
        (B, C, H, W) -> (B, C, H, W), C a multiple of 4.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.cross_scale = CrossScaleMamba(dim)
        self.body = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1), InstanceNorm2d(dim), nn.LeakyReLU(0.01, inplace=True)
        )
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.cross_scale(x)
        return self.body(x) + x * self.scale


class CrossScaleEncoder(nn.Module):
    """Residual Cross-Scale Mamba, a 3x3 convolution to the next width with batch norm and ReLU, then max pooling.

    Shape:
        (B, in_channels, H, W) -> pooled (B, out_channels, H / 2, W / 2) and skip (B, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.mamba = ResidualCrossScaleMamba(in_channels)
        self.widen = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU()
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        skip = self.widen(self.mamba(x))
        return max_pool2d(skip, 2), skip
