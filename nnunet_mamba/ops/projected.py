"""The scan of a map with parameters that the map selects: delta, B and C are products of weights with u."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from nnunet_mamba.ops import exportable, operator, transforms
from nnunet_mamba.ops.engines import ENGINES, REFERENCE, ProjectedInputs, engine_for
from nnunet_mamba.ops.products import project
from nnunet_mamba.ops.scan import (
    check,
    check_map,
    check_orders,
    computed,
    directional_scan,
    exports,
    exports_loops,
    without_autocast,
)
from nnunet_mamba.ops.scan_orders import ScanOrders
from nnunet_mamba.ops.switch import Switch

_separate = Switch("separate")


def separate_projections() -> AbstractContextManager[None]:
    """Inside, every projection is an operator of torch, as on a GPU. For counting arithmetic and memory."""
    return _separate.on()


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
    check_map(u, "(B, C, L)")
    directions, channels, states = len(orders.positions), u.shape[1], A.shape[-1]
    check("dt_proj_weight", dt_proj_weight, u, (directions, channels, None))
    rank = dt_proj_weight.shape[2]
    check("x_proj_weight", x_proj_weight, u, (directions, rank + 2 * states, channels))
    check("A", A, u, (directions, channels, None))
    for name, x in (("D", D), ("delta_bias", delta_bias)):
        check(name, x, u, (directions, channels))
    check_orders(orders, directions, u)
    with without_autocast(u.device.type):
        tensors = u, x_proj_weight, dt_proj_weight, A, D, delta_bias
        u, x_proj_weight, dt_proj_weight, A, D, delta_bias = (computed(x, u.dtype) for x in tensors)
        dt_weight, B_weight, C_weight = x_proj_weight.split([rank, states, states], dim=1)
        name = engine_for(u.device.type, u.dtype, engine)
        if _is_fused(name, channels):
            weights = torch.bmm(dt_proj_weight, dt_weight), B_weight, C_weight
            inputs = ProjectedInputs(u, *weights, A, D, delta_bias, orders.positions, orders.steps)
            return operator.scan(inputs, True, name)[0]
        if name != REFERENCE and exports_loops():
            return exportable.projected_scan(u, dt_weight, dt_proj_weight, B_weight, C_weight, A, D, delta_bias, orders)
        # a projection each: slices of a joint one would have to be copied
        dt, B, C = (project(x.flatten(0, 1), u).unflatten(1, (directions, -1)) for x in (dt_weight, B_weight, C_weight))
        # bmm, not einsum: einsum's memory layout would cost a copy here and another in the backward
        of_each_image = dt_proj_weight.expand(u.shape[0], -1, -1, -1).flatten(0, 1)
        delta = torch.bmm(of_each_image, dt.flatten(0, 1)).unflatten(0, (u.shape[0], directions))
        return directional_scan(u, delta, A, B, C, D, delta_bias, orders, engine)


def _is_fused(engine: str, channels: int) -> bool:
    if engine == REFERENCE or _separate or exports() or transforms.active():
        return False
    return channels <= ENGINES[engine].projects
