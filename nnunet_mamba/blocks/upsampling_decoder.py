"""DermoMamba's decoder stage (Hoang et al. 2025)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate


class UpsamplingDecoder(nn.Module):
    """Nearest-neighbour upsampling, concatenation with the skip, 1x1 and 3x3 convolution, GELU and batch norm.

    Shape:
        decoder: (B, in_channels, H, W), skip: (B, in_channels, 2H, 2W) -> (B, out_channels, 2H, 2W).
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2 * in_channels, in_channels, 1),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.GELU(),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, decoder: Tensor, skip: Tensor) -> Tensor:
        return self.body(torch.cat([interpolate(decoder, scale_factor=2, mode="nearest"), skip], dim=1))
