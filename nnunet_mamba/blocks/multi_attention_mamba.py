"""Multi-Attention Mamba (MAM), DA-MambaNet's encoder stage, and its residual Mamba (Nguyen et al. 2025)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from nnunet_mamba.blocks.axial import AxialConv
from nnunet_mamba.blocks.grouped import GroupedConv2d
from nnunet_mamba.blocks.norm import InstanceNorm2d
from nnunet_mamba.blocks.parts import parts
from nnunet_mamba.blocks.priority_attention import PriorityChannelAttention, PrioritySpatialAttention
from nnunet_mamba.blocks.ss2d import VSSBlock


class ResidualMamba(nn.Module):
    """Depthwise 3x3 convolution, VSS block, instance norm and leaky ReLU, plus the input times a learned scale.

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, dim: int):
        super().__init__()
        self.body = nn.Sequential(
            GroupedConv2d(dim, dim, 3, groups=dim),
            VSSBlock(dim),
            InstanceNorm2d(dim),
            nn.LeakyReLU(0.01, inplace=True),
        )
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + x * self.scale


class MultiAttentionMamba(nn.Module):
    """Priority attention and Mamba on two quarters of the channels, residual Mamba on the other two; then merged.

    As published, the first two quarters share one attention and one VSS block, the last two share one residual Mamba,
    and all four share one instance norm. Each shared module runs once, on its quarters as one batch. The published
    block has three more instance norms that it never uses: they are kept, frozen, so that published weights load.

    Args:
        size: (H, W) of the input, both even.
    Shape:
        (B, in_channels, H, W) -> pooled (B, out_channels, H / 2, W / 2) and skip (B, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int, size: tuple[int, int], softmax_over_batch: bool = False):
        super().__init__()
        quarter = in_channels // 4
        self.spatial_attention = PrioritySpatialAttention(quarter, size, softmax_over_batch)
        self.channel_attention = PriorityChannelAttention(quarter)
        self.vss = VSSBlock(quarter)
        self.residual_mamba = ResidualMamba(quarter)
        self.axial = nn.ModuleList(AxialConv(quarter) for _ in range(2))
        self.instance_norm = InstanceNorm2d(quarter)
        self.unused = nn.ModuleList(nn.InstanceNorm2d(quarter, affine=True) for _ in range(3)).requires_grad_(False)
        self.norm = nn.BatchNorm2d(in_channels)
        self.merge = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
        self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        quarters = x.chunk(4, dim=1)
        attended = torch.cat([self.channel_attention(self.spatial_attention(part)) for part in quarters[:2]])
        residual = self.residual_mamba(torch.cat(quarters[2:]))
        mixed = [*parts(self.vss(attended), 2), *(conv(part) for conv, part in zip(self.axial, parts(residual, 2)))]
        normed = self.instance_norm(torch.cat(mixed) + torch.cat(quarters)).relu()
        merged = self.merge(self.norm(torch.cat(parts(normed, 4), dim=1)).relu())
        skip = merged + self.shortcut(x)
        return max_pool2d(skip, 2).relu(), skip
