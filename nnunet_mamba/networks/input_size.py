"""What our networks ask of an image's size: at least 16 pixels an axis, and always the size that they were built for."""

from collections.abc import Sequence

from torch import Tensor, nn

STRIDE = 32
SMALLEST = 16  # pixels: of smaller images most of what the network sees would be padding


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
