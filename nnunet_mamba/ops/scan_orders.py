"""Ways to walk a map, as permutations of its positions."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache, wraps

import torch
from torch import Tensor
from torch._guards import detect_fake_mode

from nnunet_mamba.ops.switch import Switch

_known = Switch("known")


def known_walks() -> AbstractContextManager[None]:
    """Inside, torch traces with the walks as constants, of networks that have run before on maps of these sizes."""
    return _known.on()


class ScanOrders:
    """K walks over the L positions of a map. Each row is checked to be a permutation when the object is made.

    It keeps its own copy of both tensors. Do not write to them: engines trust them.

    Args:
        positions: (K, L) int64. Walk k visits `positions[k, t]` at step t.
    Attributes:
        positions: as above.
        steps: (K, L) int64, the inverse. Walk k visits position p at step `steps[k, p]`.
    Raises:
        ValueError: `positions` has another shape or type, or a row is not a permutation. While torch traces, tensors
            have no values, and only shape and type are checked.
    """

    def __init__(self, positions: Tensor):
        if positions.dim() != 2 or positions.dtype != torch.int64:
            raise ValueError(f"orders: got {tuple(positions.shape)} {positions.dtype}, wanted (K, L) torch.int64")
        in_turn = torch.arange(positions.shape[1], device=positions.device).expand_as(positions)
        if not _torch_traces() and not torch.equal(positions.sort(dim=1).values, in_turn):
            raise ValueError("orders: got a row that is not a permutation, wanted each position 0..L-1 once per row")
        self.positions = positions.clone(memory_format=torch.contiguous_format)
        self.steps = torch.empty_like(self.positions).scatter_(1, self.positions, in_turn)


def _torch_traces() -> bool:
    """Whether torch compiles, exports or runs on fake tensors, instead of computing."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or detect_fake_mode() is not None


def _built_once(build: Callable[..., Tensor]) -> Callable[..., ScanOrders]:
    """Keep the orders for each map size and device, unless they are made while torch traces.

    They are built outside inference mode, even if the first caller is in it: autograd cannot save inference tensors.
    """

    @torch.inference_mode(False)
    def make(*arguments) -> ScanOrders:
        if _known:
            raise RuntimeError(f"got {build.__name__}{arguments}, wanted a network that has run on maps of this size")
        return ScanOrders(build(*arguments))

    keep = lru_cache(maxsize=64)(make)

    @wraps(build)
    def orders(*arguments) -> ScanOrders:
        return make(*arguments) if _torch_traces() and not _known else keep(*arguments)

    return orders


@_built_once
def cross_scan_orders(height: int, width: int, device: torch.device) -> Tensor:
    """The four walks of VMamba's cross scan (Liu et al. 2024): along rows, along columns, and both backwards."""
    rows = torch.arange(height * width, device=device)
    columns = rows.view(height, width).t().reshape(-1)
    return torch.stack([rows, columns, rows.flip(0), columns.flip(0)])


@_built_once
def slice_scan_orders(height: int, width: int, slice_height: int, slice_width: int, device: torch.device) -> Tensor:
    """The four walks of SliceMamba's bidirectional slice scan (Fan et al. 2025). Neighbours stay close in the sequence.

    One walk takes horizontal slices of `slice_height` rows, each column by column. Another takes vertical slices of
    `slice_width` columns, each row by row. The other two are the same backwards. Where the slices do not divide the
    map, the last one is narrower.
    """
    positions = torch.arange(height * width, device=device).view(height, width)
    horizontal = torch.cat([band.t().reshape(-1) for band in positions.split(slice_height, dim=0)])
    vertical = torch.cat([band.reshape(-1) for band in positions.split(slice_width, dim=1)])
    return torch.stack([horizontal, horizontal.flip(0), vertical, vertical.flip(0)])


@_built_once
def identity_order(length: int, device: torch.device) -> Tensor:
    """One walk: the sequence as it is."""
    return torch.arange(length, device=device)[None]
