"""Channel-Spatial Attention Gate (CSAG), which joins DA-MambaNet's decoder and skips (Nguyen et al. 2025)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nnunet_mamba.blocks.cbam import CBAM


class AttentionGate(nn.Module):
    """Weighs the skip's pixels by the decoder's map (Attention U-Net, Oktay et al. 2018).

    Shape:
        decoder: (B, gate_channels, H, W), skip: (B, skip_channels, H, W) -> (B, skip_channels, H, W).
    """

    def __init__(self, gate_channels: int, skip_channels: int, inner_channels: int):
        super().__init__()
        self.gate = nn.Sequential(nn.Conv2d(gate_channels, inner_channels, 1), nn.BatchNorm2d(inner_channels))
        self.skip = nn.Sequential(nn.Conv2d(skip_channels, inner_channels, 1), nn.BatchNorm2d(inner_channels))
        self.psi = nn.Sequential(nn.Conv2d(inner_channels, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, decoder: Tensor, skip: Tensor) -> Tensor:
        return skip * self.psi((self.gate(decoder) + self.skip(skip)).relu())


class ChannelSpatialAttentionGate(nn.Module):
    """The decoder's map, upsampled and passed through CBAM, gates the skip; returns the gated skip and the skip.

    As in the published code, the decoder's map reaches the next stage only through this gate.

    Shape:
        decoder: (B, C, H, W), skip: (B, S, 2H, 2W) -> (B, 2S, 2H, 2W).
    """

    def __init__(self, channels: int, skip_channels: int):
        super().__init__()
        self.cbam = CBAM(channels)
        self.attention_gate = AttentionGate(channels, skip_channels, skip_channels // 2)

    def forward(self, decoder: Tensor, skip: Tensor) -> Tensor:
        gate = self.cbam(interpolate(decoder, scale_factor=2, mode="nearest"))
        return torch.cat([self.attention_gate(gate, skip), skip], dim=1)
