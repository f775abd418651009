"""The front door of the scan: checks the arguments, picks the engine and keeps the scan in float32 or float64."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.nn.functional import silu

from nnunet_mamba.ops import exportable, operator, reference, torch_engine, transforms
from nnunet_mamba.ops.engines import REFERENCE, ScanInputs, engine_for
from nnunet_mamba.ops.plain import plain
from nnunet_mamba.ops.scan_orders import ScanOrders, identity_order

_torch_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # torch before 2.7 does not have it


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
    engine: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Mamba's selective scan along L: takes the place of `mamba_ssm`'s `selective_scan_fn`, on any device.

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t;  y_t = C_t h_t + D u_t.  With z, the result is y * silu(z).

    Everything is computed in float32, or in float64 like u, and rounded once to the result's type. A constant B or C is
    repeated for each step, so it takes N times the memory of u.

    Shape:
        u, z: (B, D, L). delta: (B, D, L), or (B, G, L) with G dividing D, as in VMamba. A: (D, N), real.
        B, C: (B, N, L); or (B, G, N, L) with G dividing D; or (D, N), constant along L.
        D: (D,). delta_bias: (D,), or one per group of delta.
    Returns:
        (B, D, L) in u's type. With `return_last_state` also the last state (B, D, N), in float32 or float64, without
        gradient.
    Raises:
        ValueError: an argument's shape, device or type is wrong (A is complex, say), or the engine is unknown.
    Source:
        Gu and Dao 2023, Mamba: Linear-Time Sequence Modeling with Selective State Spaces, algorithm 2.
    """
    check_map(u, "(B, D, L)")
    batch, channels, length = u.shape
    check("delta", delta, u, (batch, None, length))
    _check_groups("delta", delta.shape[1], channels)
    check("A", A, u, (channels, None))
    B, C = (x[:, None] if x.dim() == 3 else x for x in (B, C))
    for name, x in (("B", B), ("C", C)):
        check(name, x, u, (channels, A.shape[1]) if x.dim() == 2 else (batch, None, A.shape[1], length))
        _check_groups(name, x.shape[1] if x.dim() == 4 else 1, channels)
    if B.dim() == C.dim():
        check("C", C, u, tuple(B.shape))
    check("D", D, u, (channels,))
    grouped_bias = delta_bias is not None and delta_bias.shape == delta.shape[1:2]
    check("delta_bias", delta_bias, u, (delta.shape[1] if grouped_bias else channels,))
    check("z", z, u, (batch, channels, length))
    dtype = u.dtype
    u, delta, A, B, C = (computed(x, dtype) for x in (u, delta, A, B, C))
    D, delta_bias = (u.new_zeros(channels) if x is None else computed(x, dtype) for x in (D, delta_bias))
    delta, delta_bias = _for_each_channel(delta, 1, channels), _for_each_channel(delta_bias, 0, channels)
    B, C = _along(B, C, u), _along(C, B, u)
    tensors = u, delta[:, None], A[None], B[:, None], C[:, None], D[None], delta_bias[None]
    y, state = _run(tensors, identity_order(length, u.device), delta_softplus, engine)
    if z is not None:
        y = y * silu(computed(z, dtype))
    y = y.to(dtype)
    return (y, state[:, 0].detach()) if return_last_state else y


def directional_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    orders: ScanOrders,
    engine: str | None = None,
) -> Tensor:
    """Selective scans over one map in K directions, summed; softplus is applied to delta + delta_bias.

    All maps go in and come out in spatial order. The engine walks `orders`; no map is flipped or transposed.

    Shape:
        u: (B, C, L). delta: (B, K, C, L). A: (K, C, N), real. B, C: (B, K, N, L). D, delta_bias: (K, C).
        orders: K walks over L positions.
    Returns:
        (B, C, L) float32, or float64 like u.
    Raises:
        ValueError: an argument's shape, device or type is wrong, or the engine is unknown.
    """
    check_map(u, "(B, C, L)")
    if delta.dim() != 4:
        raise ValueError(f"delta: got shape {tuple(delta.shape)}, wanted (B, K, C, L)")
    batch, channels, length = u.shape
    directions = delta.shape[1]
    check("delta", delta, u, (batch, directions, channels, length))
    check("A", A, u, (directions, channels, None))
    check("B", B, u, (batch, directions, A.shape[2], length))
    check("C", C, u, tuple(B.shape))
    check("D", D, u, (directions, channels))
    check("delta_bias", delta_bias, u, (directions, channels))
    check_orders(orders, directions, u)
    dtype = u.dtype
    u, delta, A, B, C, D, delta_bias = (computed(x, dtype) for x in (u, delta, A, B, C, D, delta_bias))
    return _run((u, delta, A, B[:, :, None], C[:, :, None], D, delta_bias), orders, True, engine)[0]


def check_orders(orders: ScanOrders, directions: int, u: Tensor) -> None:
    """Raise ValueError unless `orders` are `directions` walks of the map u, on its device."""
    positions, wanted = orders.positions, (directions, u.shape[2])
    if positions.shape != wanted or positions.device != u.device:
        raise ValueError(f"orders: got {tuple(positions.shape)} on {positions.device}, wanted {wanted} on {u.device}")


def exports() -> bool:
    """Whether torch exports the network, or ONNX does: exporters do not know our operators."""
    return _torch_is_exporting() or torch.onnx.is_in_onnx_export()


def traced() -> bool:
    """Whether torch compiles, traces or exports the network: such a graph keeps torch's own operators."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or exports()


def exports_loops() -> bool:
    """Whether `torch.export` exports the network, and has loops. ONNX's exporter of old, which traces, has none."""
    return _torch_is_exporting() and not torch.jit.is_tracing() and exportable.is_available()


def without_autocast(device: str) -> AbstractContextManager:
    """Float32 stays float32 in the block. torch.export writes autocast down even where it changes nothing."""
    return torch.autocast(device_type=device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def check_map(u: Tensor, wanted: str) -> None:
    if u.dim() != 3 or 0 in u.shape:
        raise ValueError(f"u: got shape {tuple(u.shape)}, wanted {wanted}, each above zero")
    check("u", u, u, tuple(u.shape))


def _check_groups(name: str, groups: int, channels: int) -> None:
    if channels % groups:
        raise ValueError(f"{name}: got {groups} groups, wanted a divisor of the {channels} channels of u")


def check(name: str, tensor: Tensor | None, u: Tensor, shape: tuple[int | None, ...]) -> None:
    """Check the shape (None: any size above zero), the device and the type of one argument."""
    if tensor is None:
        return
    fits = tensor.dim() == len(shape) and all(
        size > 0 if want is None else size == want for size, want in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name}: got shape {tuple(tensor.shape)}, wanted ({wanted})")
    if tensor.device != u.device:
        raise ValueError(f"{name}: got device {tensor.device}, wanted {u.device} like u")
    if not tensor.is_floating_point():
        raise ValueError(f"{name}: got {tensor.dtype}, wanted a real floating point type")


def computed(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x` as a plain tensor in the type that the scan of a `dtype` map computes in."""
    return plain(x).to(torch.promote_types(dtype, torch.float32))


def _for_each_channel(x: Tensor, dim: int, channels: int) -> Tensor:
    """`x` with its groups along `dim` repeated to one per channel."""
    groups = x.shape[dim]
    return x if groups == channels else x.repeat_interleave(channels // groups, dim)


def _along(x: Tensor, like: Tensor, u: Tensor) -> Tensor:
    """B or C as (B, G, N, L), with one group per channel if it or `like`, the other one, is constant along L."""
    batch, channels, length = u.shape
    if x.dim() == 2:
        return x[None, :, :, None].expand(batch, -1, -1, length)
    return _for_each_channel(x, 1, channels) if like.dim() == 2 else x


def _run(
    tensors: Sequence[Tensor], orders: ScanOrders, delta_softplus: bool, engine: str | None
) -> tuple[Tensor, Tensor]:
    """The output and the last states, in the tensors' own type whatever autocast says."""
    u = tensors[0]
    name = engine_for(u.device.type, u.dtype, engine)
    with without_autocast(u.device.type):
        inputs = ScanInputs(*[*tensors, orders.positions, orders.steps])  # mypy counts a bare `*tensors` wrongly
        if name == REFERENCE:
            operator.log_choice(name, u.device.type)
            return reference.scan(inputs, delta_softplus)
        if exports():
            return torch_engine.exportable_scan(inputs, delta_softplus)
        return (transforms if transforms.active() else operator).scan(inputs, delta_softplus, name)
