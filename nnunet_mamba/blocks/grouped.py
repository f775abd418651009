"""Grouped and depthwise convolutions whose gradients are right in every type and memory layout, and fast on a CPU."""

import torch
from torch import Tensor, nn

from nnunet_mamba.ops.depthwise import conv2d


class GroupedConv2d(nn.Conv2d):
    """nn.Conv2d that keeps the size of a map, padded with zeros, with the gradients of `ops.depthwise.conv2d`.

    It goes back to channels first for bfloat16 on a CPU. There oneDNN's weight gradients of dilated depthwise
    convolutions of channels-last maps are wrong, some of them NaN (torch 2.14).

    Args:
        kernel_size: of the height and the width, or of both.
    Shape:
        (B, in_channels, H, W) -> (B, out_channels, H, W).
    Raises:
        ValueError: a kernel size is even.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        if height % 2 == 0 or width % 2 == 0:
            raise ValueError(f"kernel_size: got {kernel_size}, wanted odd numbers, because the map keeps its size")
        reach = dilation * (height // 2), dilation * (width // 2)
        super().__init__(in_channels, out_channels, kernel_size, 1, reach, dilation, groups, bias)
        self.reach = reach

    def forward(self, x: Tensor) -> Tensor:
        dilation = self.dilation[0]
        if dilation > 1 and x.device.type == "cpu" and type_of_convolution(x) == torch.bfloat16:
            x = x.contiguous()
        return conv2d(x, self.weight, self.bias, self.reach, dilation, self.groups)


def type_of_convolution(x: Tensor) -> torch.dtype:
    """What a convolution of `x` computes in: autocast's type, or that of `x`."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
