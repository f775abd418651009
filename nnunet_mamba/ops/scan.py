"""The front door of the scan: checks the arguments, picks the engine and keeps the scan in float32."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import silu

from nnunet_mamba.ops import operator, reference, torch_engine
from nnunet_mamba.ops.engines import REFERENCE, ScanInputs, engine_for
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
    """Mamba's selective scan along L, with the arguments of `mamba_ssm`'s `selective_scan_fn`.

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t;  y_t = C_t h_t + D u_t.  With z, the result is y * silu(z).

    Shape:
        u, delta, z: (B, D, L). A: (D, N), real. B, C: (B, N, L), or (B, G, N, L) with G dividing D. D, delta_bias:
        (D,).
    Returns:
        (B, D, L) float32, or float64 like u. With `return_last_state` also the last state (B, D, N), without gradient.
    Raises:
        ValueError: an argument's shape, device or type is wrong, or the engine is unknown.
    Source:
        Gu and Dao 2023, Mamba: Linear-Time Sequence Modeling with Selective State Spaces, algorithm 2.
    """
    _check_map(u, "(B, D, L)")
    batch, channels, length = u.shape
    _check("delta", delta, u, (batch, channels, length))
    _check("A", A, u, (channels, None))
    B, C = (x[:, None] if x.dim() == 3 else x for x in (B, C))
    _check("B", B, u, (batch, None, A.shape[1], length))
    _check("C", C, u, tuple(B.shape))
    if channels % B.shape[1]:
        raise ValueError(f"B: got {B.shape[1]} groups, wanted a divisor of the {channels} channels of u")
    _check("D", D, u, (channels,))
    _check("delta_bias", delta_bias, u, (channels,))
    _check("z", z, u, (batch, channels, length))
    D, delta_bias = (u.new_zeros(1, channels) if x is None else x[None] for x in (D, delta_bias))
    tensors = u, delta[:, None], A[None], B[:, None], C[:, None], D, delta_bias
    y, state = _run(tensors, identity_order(length, u.device), delta_softplus, engine)
    if z is not None:
        y = y * silu(z.to(y.dtype))
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
    _check_map(u, "(B, C, L)")
    if delta.dim() != 4:
        raise ValueError(f"delta: got shape {tuple(delta.shape)}, wanted (B, K, C, L)")
    batch, channels, length = u.shape
    directions = delta.shape[1]
    _check("delta", delta, u, (batch, directions, channels, length))
    _check("A", A, u, (directions, channels, None))
    _check("B", B, u, (batch, directions, A.shape[2], length))
    _check("C", C, u, tuple(B.shape))
    _check("D", D, u, (directions, channels))
    _check("delta_bias", delta_bias, u, (directions, channels))
    check_orders(orders, directions, u)
    tensors = u, delta, A, B[:, :, None], C[:, :, None], D, delta_bias
    return _run(tensors, orders, True, engine)[0]


def check_orders(orders: ScanOrders, directions: int, u: Tensor) -> None:
    """Raise ValueError unless `orders` are `directions` walks of the map u, on its device."""
    positions, wanted = orders.positions, (directions, u.shape[2])
    if positions.shape != wanted or positions.device != u.device:
        raise ValueError(f"orders: got {tuple(positions.shape)} on {positions.device}, wanted {wanted} on {u.device}")


def exports() -> bool:
    """Whether torch exports the network, or ONNX does: exporters do not know our operators."""
    return _torch_is_exporting() or torch.onnx.is_in_onnx_export()


def _check_map(u: Tensor, wanted: str) -> None:
    if u.dim() != 3 or 0 in u.shape:
        raise ValueError(f"u: got shape {tuple(u.shape)}, wanted {wanted}, each above zero")


def _check(name: str, tensor: Tensor | None, u: Tensor, shape: tuple[int | None, ...]) -> None:
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


def _run(
    tensors: Sequence[Tensor], orders: ScanOrders, delta_softplus: bool, engine: str | None
) -> tuple[Tensor, Tensor]:
    """The output and the last states, in at least float32 whatever autocast says."""
    u = tensors[0]
    dtype = torch.promote_types(u.dtype, torch.float32)
    name = engine_for(u.device.type, dtype, engine)
    with torch.autocast(device_type=u.device.type, enabled=False):
        inputs = ScanInputs(*[*(x.to(dtype) for x in tensors), orders.positions, orders.steps])
        if name == REFERENCE:
            operator.log_choice(name, u.device.type)
            return reference.scan(inputs, delta_softplus)
        if exports():
            return torch_engine.exportable_scan(inputs, delta_softplus)
        return operator.scan(inputs, delta_softplus, name)
