"""Checks and pads the networks' inputs: images of at least 16 pixels per axis."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from nnunet_mamba.ops.plain import plain

STRIDE = 32
SMALLEST = 16  # pixels; a smaller image would be mostly padding
HALF_LIMIT = 1e4  # a weighted sum of a few channels of this size stays below 65504, the largest float16


def check_input_size(network: str, input_size: Sequence[int]) -> tuple[int, int]:
    """`input_size` as two integers.

    Raises:
        ValueError: it is not two sizes of at least 16; the message names `network`.
    """
    size = tuple(input_size)
    if len(size) != 2 or min(size) < SMALLEST:
        raise ValueError(
            f"{network}: got input_size {size}, wanted (H, W) of at least {SMALLEST} each, for this 2-D network. "
            "With nnU-Net use -c 2d and a larger patch_size in the plans"
        )
    return int(size[0]), int(size[1])


def padded_size(size: tuple[int, int], stride: int = STRIDE) -> tuple[int, int]:
    """Both lengths rounded up to multiples of `stride`."""
    height, width = (-(-length // stride) * stride for length in size)
    return height, width


def padded(x: Tensor, size: tuple[int, int]) -> Tensor:
    """`x` with zeros below and to the right up to `size`, channels last, as a plain tensor; float16 clamped to +-10000.

    Channels last is the memory layout of all that follows: depthwise convolutions take half the time in it.

    nnU-Net's z-score divides by the standard deviation or 1e-8. A constant image, such as an empty slice, becomes
    rounding errors times 1e8, which overflow float16. Other images stay far below the limit.
    """
    x = plain(x)
    kind = x.device.type
    autocast = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    if autocast or x.dtype == torch.float16:
        x = x.clamp(-HALF_LIMIT, HALF_LIMIT)
    x = pad(x, (0, size[1] - x.shape[3], 0, size[0] - x.shape[2]))
    return x.contiguous(memory_format=torch.channels_last)


def check_channels(network: str, x: Tensor, in_channels: int) -> None:
    """Raises a ValueError that names `network` unless `x` is (B, in_channels, H, W)."""
    if x.dim() != 4 or x.shape[1] != in_channels:
        raise ValueError(
            f"{network}: got an input of shape {tuple(x.shape)}, wanted (B, {in_channels}, H, W): "
            "build the network with the in_channels of the images"
        )


def check_input(network: str, x: Tensor, in_channels: int, input_size: tuple[int, int]) -> None:
    """Raises a ValueError that names `network` unless `x` is (B, in_channels, *input_size)."""
    height, width = input_size
    if x.dim() != 4 or tuple(x.shape[1:]) != (in_channels, height, width):
        raise ValueError(
            f"{network}: got an input of shape {tuple(x.shape)}, wanted (B, {in_channels}, {height}, {width}): "
            "build the network with the in_channels and input_size of the images, or crop the images"
        )
