"""The scan of a map with parameters that the map selects: delta, B and C are products of weights with u."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from nnunet_mamba.ops import operator
from nnunet_mamba.ops.engines import ENGINES, REFERENCE, ProjectedInputs, engine_for
from nnunet_mamba.ops.scan import check_orders, directional_scan, exports
from nnunet_mamba.ops.scan_orders import ScanOrders

_separate: ContextVar[bool] = ContextVar("separate", default=False)


@contextmanager
def separate_projections() -> Iterator[None]:
    """Inside, every projection is an operator of torch, as on a GPU. For counting arithmetic and memory."""
    token = _separate.set(True)
    try:
        yield
    finally:
        _separate.reset(token)


def projected_scan(
    u: Tensor,
    x_proj_weight: Tensor,
    dt_proj_weight: Tensor,
    A: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    orders: ScanOrders,
    engine: str | None = None,
) -> Tensor:
    """`directional_scan` with (dt, B, C) = x_proj_weight u and delta = dt_proj_weight dt, per direction.

    With few channels, an engine may make delta, B and C inside the scan, a few steps at a time: they are many times
    larger than u.

    Shape:
        u: (B, C, L). x_proj_weight: (K, R + 2 N, C). dt_proj_weight: (K, C, R). A: (K, C, N), real. D, delta_bias:
        (K, C). orders: K walks over L positions.
    Returns:
        (B, C, L) float32, or float64 like u.
    Raises:
        ValueError: an argument's shape, device or type is wrong, or the engine is unknown.
    Source:
        Liu et al. 2024, VMamba: Visual State Space Model (SS2D).
    """
    states, rank = A.shape[-1], dt_proj_weight.shape[-1]
    with torch.autocast(device_type=u.device.type, enabled=False):
        u = u.to(torch.promote_types(u.dtype, torch.float32))
        dt_weight, B_weight, C_weight = x_proj_weight.to(u.dtype).split([rank, states, states], dim=1)
        dt_proj_weight = dt_proj_weight.to(u.dtype)
        name = engine_for(u.device.type, u.dtype, engine)
        if _is_fused(name, u.shape[1]):
            check_orders(orders, len(A), u)
            weights = torch.bmm(dt_proj_weight, dt_weight), B_weight, C_weight
            others = (x.to(u.dtype) for x in (A, D, delta_bias))
            return operator.scan(ProjectedInputs(u, *weights, *others, orders.positions, orders.steps), True, name)[0]
        # a projection each: slices of a joint one would have to be copied
        dt, B, C = (_project(x.flatten(0, 1), u).unflatten(1, (len(A), -1)) for x in (dt_weight, B_weight, C_weight))
        # bmm, not einsum: einsum's memory layout would cost a copy here and another in the backward
        weights = dt_proj_weight.expand(u.shape[0], -1, -1, -1).flatten(0, 1)
        delta = torch.bmm(weights, dt.flatten(0, 1)).unflatten(0, (u.shape[0], len(A)))
        return directional_scan(u, delta, A, B, C, D, delta_bias, orders, engine)


def _is_fused(engine: str, channels: int) -> bool:
    if engine == REFERENCE or _separate.get() or exports():
        return False
    return channels <= ENGINES[engine].projects


def _project(weight: Tensor, u: Tensor) -> Tensor:
    """(O, I), (B, I, L) -> (B, O, L). `weight @ u` would fold the batch into L, which copies the map."""
    return torch.bmm(weight.expand(u.shape[0], -1, -1), u)
