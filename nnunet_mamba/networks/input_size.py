"""What our networks ask of an image's size: at least 16 pixels an axis, and always the size that they were built for."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

STRIDE = 32
SMALLEST = 16  # pixels: of smaller images most of what the network sees would be padding
HALF_LIMIT = 1e4  # sums of a few weighted channels of this size still stay below 65504, the largest float16


def check_input_size(network: str, input_size: Sequence[int]) -> tuple[int, int]:
    """`input_size` as two integers of at least 16; a ValueError naming `network` where it is anything else."""
    size = tuple(input_size)
    if len(size) != 2 or min(size) < SMALLEST:
        raise ValueError(
            f"{network}: got input_size {size}, wanted (H, W) of at least {SMALLEST} each: "
            f"it is a 2-D network that pads them to multiples of {STRIDE}. With nnU-Net use -c 2d and a larger patch_size in the plans"
        )
    return int(size[0]), int(size[1])


def padded_size(size: tuple[int, int], stride: int = STRIDE) -> tuple[int, int]:
    """The next multiples of `stride`."""
    return tuple(-(-length // stride) * stride for length in size)


def padded(x: Tensor, size: tuple[int, int]) -> Tensor:
    """`x` with zeros below and to the right up to `size`; where autocast makes it float16, limited to +-10000.

    nnU-Net's z-score divides by at least 1e-8: an image of one value, like an empty slice, becomes rounding errors times 1e8,
    which overflow float16. Other images are far from that limit.
    """
    kind = x.device.type
    if torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16:
        x = x.clamp(-HALF_LIMIT, HALF_LIMIT)
    return pad(x, (0, size[1] - x.shape[3], 0, size[0] - x.shape[2]))


def check_channels(network: nn.Module, x: Tensor) -> None:
    """A ValueError where `x` is not (B, network.in_channels, H, W)."""
    if x.dim() != 4 or x.shape[1] != network.in_channels:
        raise ValueError(
            f"{type(network).__name__}: got an input of shape {tuple(x.shape)}, wanted (B, {network.in_channels}, H, W): "
            "build the network with the in_channels of the images"
        )


def check_input(network: nn.Module, x: Tensor) -> None:
    """A ValueError where `x` is not (B, network.in_channels, *network.input_size)."""
    wanted = (network.in_channels, *network.input_size)
    if x.dim() != 4 or tuple(x.shape[1:]) != wanted:
        raise ValueError(
            f"{type(network).__name__}: got an input of shape {tuple(x.shape)}, wanted (B, {', '.join(map(str, wanted))}): "
            "build the network with the in_channels and input_size of the images, or crop the images"
        )
