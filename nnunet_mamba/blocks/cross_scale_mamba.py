"""Cross-Scale Mamba (CSMB) and DermoMamba's encoder stage around it (Hoang et al. 2025)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from nnunet_mamba.blocks.axial import AxialDepthwiseChain
from nnunet_mamba.blocks.ss2d import VSSBlock


class CrossScaleMamba(nn.Module):
    """Three quarters of the channels through axial chains of dilation 1, 2, 3 and one VSS block; the fourth passes.

    The three share the VSS block's weights, so it runs once, over them as one batch.

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
        scanned = self.vss(reached).chunk(3)
        return self.norm(torch.cat([*scanned, passed], dim=1)).relu()


class ResidualCrossScaleMamba(nn.Module):
    """Cross-Scale Mamba, then 3x3 convolution, instance norm and leaky ReLU of it, plus itself times a learned scale.

    The residual is that of the published code: it goes around the convolution, not around the Cross-Scale Mamba.

    Shape:
        (B, C, H, W) -> (B, C, H, W), C a multiple of 4.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.cross_scale = CrossScaleMamba(dim)
        self.body = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1), nn.InstanceNorm2d(dim, affine=True), nn.LeakyReLU(0.01, inplace=True)
        )
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.cross_scale(x)
        return self.body(x) + x * self.scale


class CrossScaleEncoder(nn.Module):
    """Residual Cross-Scale Mamba, then 3x3 convolution to the next width, batch norm and ReLU; halved for the next stage.

    Shape:
        (B, in_channels, H, W) -> (B, out_channels, H / 2, W / 2) and the skip (B, out_channels, H, W).
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
