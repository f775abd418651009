"""Ways to walk a map, as permutations of its positions; built once for each map size and device.

Built outside inference mode, wherever the first call comes from: what it makes could not be kept for a gradient.
"""

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from torch import Tensor
from torch._guards import detect_fake_mode


def _built_once(build: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep what `build` makes, but not what it makes while torch traces it for a graph or a file, or runs with fake tensors: that
    is no real tensor.
    """
    build = torch.inference_mode(False)(build)
    keep = lru_cache(maxsize=64)(build)

    @wraps(build)
    def orders(*arguments) -> Tensor:
        unreal = torch.compiler.is_compiling() or detect_fake_mode() is not None
        return build(*arguments) if unreal else keep(*arguments)

    return orders


@_built_once
def cross_scan_orders(height: int, width: int, device: torch.device) -> Tensor:
    """The four directions of VMamba's cross scan (Liu et al. 2024): rows, columns, and both backwards.

    Returns:
        (4, height * width) int64: `orders[k, t]` is the row-major position that direction k visits at step t.
    """
    rows = torch.arange(height * width, device=device)
    columns = rows.view(height, width).t().reshape(-1)
    return torch.stack([rows, columns, rows.flip(0), columns.flip(0)])


@_built_once
def slice_scan_orders(height: int, width: int, slice_height: int, slice_width: int, device: torch.device) -> Tensor:
    """The four directions of SliceMamba's bidirectional slice scan (Fan et al. 2025): neighbours stay close in the sequence.

    Horizontal bands of `slice_height` rows, each read column by column, and the same backwards; vertical bands of `slice_width`
    columns, each read row by row, and the same backwards. Where a size is not a multiple, the last band is narrower.

    Returns:
        (4, height * width) int64, as `cross_scan_orders`.
    """
    positions = torch.arange(height * width, device=device).view(height, width)
    horizontal = torch.cat([band.t().reshape(-1) for band in positions.split(slice_height, dim=0)])
    vertical = torch.cat([band.reshape(-1) for band in positions.split(slice_width, dim=1)])
    return torch.stack([horizontal, horizontal.flip(0), vertical, vertical.flip(0)])


@_built_once
def identity_order(length: int, device: torch.device) -> Tensor:
    """(1, length): a sequence as it comes."""
    return torch.arange(length, device=device)[None]
