"""Ways to walk a map, as permutations of its positions; built once for each map size and device.

Built outside inference mode, wherever the first call comes from: what it makes could not be kept for a gradient.
"""

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def cross_scan_orders(height: int, width: int, device: torch.device) -> Tensor:
    """The four directions of VMamba's cross scan (Liu et al. 2024): rows, columns, and both backwards.

    Returns:
        (4, height * width) int64: `orders[k, t]` is the row-major position that direction k visits at step t.
    """
    rows = torch.arange(height * width, device=device)
    columns = rows.view(height, width).t().reshape(-1)
    return torch.stack([rows, columns, rows.flip(0), columns.flip(0)])


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def identity_order(length: int, device: torch.device) -> Tensor:
    """(1, length): a sequence as it comes."""
    return torch.arange(length, device=device)[None]
