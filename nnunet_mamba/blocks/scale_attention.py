"""Scale attention: weighs the maps of several decoder stages by channel and by pixel (CA-Net, Gu et al. 2020)."""

import torch
from torch import Tensor, nn

from nnunet_mamba.blocks.cbam import ChannelGate


class ScaleAttention(nn.Module):
    """Channel gate, then a gate per scale and pixel, each with a residual; 3x3 convolution, batch norm, ReLU.

    Like DA-MambaNet's code, this differs from CA-Net in two ways: GELU instead of ReLU in the spatial gate, and one
    weight per channel instead of one per scale in the channel gate.

    Args:
        scales: number of concatenated maps; each has `in_channels / scales` channels.
    Shape:
        (B, in_channels, H, W) -> (B, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int, scales: int = 4):
        super().__init__()
        self.channels_per_scale = in_channels // scales
        self.channel_gate = ChannelGate(in_channels, reduction=4)
        self.spatial_gate = nn.Sequential(
            nn.Conv2d(in_channels, scales, 3, padding=1, bias=False),
            nn.BatchNorm2d(scales, momentum=0.01),
            nn.GELU(),
            nn.Conv2d(scales, scales, 1, bias=False),
            nn.GELU(),
            nn.Sigmoid(),
        )
        self.merge = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        gated = self.channel_gate(x)
        weights = self.spatial_gate(gated).repeat_interleave(self.channels_per_scale, dim=1)
        return self.merge(torch.relu(gated * (1 + weights) + x))
