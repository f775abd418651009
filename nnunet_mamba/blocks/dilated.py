"""A dilated depthwise convolution whose gradients are right in every type and memory layout."""

import torch
from torch import Tensor, nn


class DilatedConv2d(nn.Conv2d):
    """nn.Conv2d that goes back to channels first for bfloat16 on a CPU.

    There oneDNN's weight gradients of dilated depthwise convolutions of channels-last maps are wrong, some of them NaN
    (torch 2.14).

    Shape:
        (B, C, H, W) -> (B, C', H', W').
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and type_of_convolution(x) == torch.bfloat16:
            x = x.contiguous()
        return super().forward(x)


def type_of_convolution(x: Tensor) -> torch.dtype:
    """What a convolution of `x` computes in: autocast's type, or that of `x`."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
