"""Axial convolutions: a depthwise column and row of weights instead of a square kernel."""

from contextlib import AbstractContextManager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nnunet_mamba.blocks.grouped import GroupedConv2d, type_of_convolution
from nnunet_mamba.ops.depthwise import conv2d
from nnunet_mamba.ops.switch import Switch

_separate = Switch("separate")


def separate_axes() -> AbstractContextManager[None]:
    """Inside, AxialConv calls its two convolutions: one kernel in their place has zeros that are no arithmetic."""
    return _separate.on()


class AxialConv(nn.Module):
    """x plus its 3x1 and 1x3 depthwise convolutions (DA-MambaNet, Nguyen et al. 2025).

    Computed as one depthwise convolution whose kernel is their cross, because each pass over the map costs as much as
    reading it.

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, dim: int, kernel_size: int = 3):
        super().__init__()
        self.reach = kernel_size // 2
        self.vertical = GroupedConv2d(dim, dim, (kernel_size, 1), groups=dim)
        self.horizontal = GroupedConv2d(dim, dim, (1, kernel_size), groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        if _separate:
            return x + self.vertical(x) + self.horizontal(x)
        reach = self.reach
        kernel = pad(self.vertical.weight, (reach, reach)) + pad(self.horizontal.weight, (0, 0, reach, reach))
        bias = cast(Tensor, self.vertical.bias) + cast(Tensor, self.horizontal.bias)
        in_half_precision = type_of_convolution(x).itemsize < torch.float32.itemsize
        if not in_half_precision:  # there, beside a one, weights would lose digits
            kernel = kernel + pad(kernel.new_ones(1, 1, 1, 1), (reach,) * 4)
        y = conv2d(x, kernel, bias, (reach, reach), groups=len(kernel))
        return x + y if in_half_precision else y


class AxialDepthwiseChain(nn.Module):
    """x plus its 1x7, 7x1 and 3x3 depthwise convolutions in sequence (DermoMamba, Hoang et al. 2025).

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, dim: int, dilation: int, kernel_size: int = 7):
        super().__init__()
        self.horizontal = GroupedConv2d(dim, dim, (1, kernel_size), dilation=dilation, groups=dim)
        self.vertical = GroupedConv2d(dim, dim, (kernel_size, 1), dilation=dilation, groups=dim)
        self.square = GroupedConv2d(dim, dim, 3, dilation=dilation, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.square(self.vertical(self.horizontal(x)))


class AxialResidualBlock(nn.Module):
    """DA-MambaNet's decoder stage: axial, 3x3 and axial convolution with a 1x1 shortcut (Nguyen et al. 2025).

    Shape:
        (B, in_channels, H, W) -> (B, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.body = nn.Sequential(
            AxialConv(in_channels),
            nn.BatchNorm2d(in_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            AxialConv(out_channels),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x) + self.shortcut(x))
