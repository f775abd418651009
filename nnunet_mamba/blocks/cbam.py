"""Convolutional block attention (CBAM, Woo et al. 2018): which channels, then where."""

import torch
from torch import Tensor, nn


class ChannelGate(nn.Module):
    """Gates channels: one two-layer perceptron sees their means and their maxima; the two results are added.

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(channels, channels // reduction),
            nn.ReLU(inplace=True),
            nn.Linear(channels // reduction, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        gate = self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3)))
        return x * torch.sigmoid(gate)[:, :, None, None]


class SpatialGate(nn.Module):
    """Gates pixels by a 7x7 convolution over two maps: the maximum and the mean of all channels.

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], dim=1)
        pooled = pooled.contiguous(memory_format=torch.channels_last)
        return x * torch.sigmoid(self.norm(self.conv(pooled)))


class CBAM(nn.Sequential):
    """Channel gate, then spatial gate.

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__(ChannelGate(channels, reduction), SpatialGate())
