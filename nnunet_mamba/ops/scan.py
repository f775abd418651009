"""The front door of the scan: checks the arguments, chooses the engine and keeps the scan in float32.

Engines share one signature (see reference.py) and are chosen by the tensors' device, by the argument `engine`, or by the
environment variable NNUNET_MAMBA_SCAN. Each runs as one node of torch's graph, `nnunet_mamba::scan`, whatever it does inside.
"""

import inspect
import logging
import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu

from nnunet_mamba.ops import reference, torch_engine
from nnunet_mamba.ops.scan_orders import identity_order

logger = logging.getLogger("nnunet_mamba")

VARIABLE = "NNUNET_MAMBA_SCAN"
REFERENCE = "reference"
_torch_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # torch before 2.7 does not tell


class Engine(NamedTuple):
    """Where an engine is, the one type of device that it runs on (None: whatever torch runs on), and whether in float64 too."""

    module: str
    device: str | None
    float64: bool


ENGINES = {
    "torch": Engine("nnunet_mamba.ops.torch_engine", None, True),
    "cpu": Engine("nnunet_mamba.ops.cpu", "cpu", False),
    "triton": Engine("nnunet_mamba.ops.triton_engine", "cuda", False),
    "mamba_ssm": Engine("nnunet_mamba.ops.mamba_ssm_engine", "cuda", False),
}


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

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t;  y_t = C_t h_t + D u_t;  the result is y * silu(z) where z is given.

    Shape:
        u, delta, z: (B, D, L). A: (D, N), real. B, C: (B, N, L), or (B, G, N, L) with G dividing D. D, delta_bias: (D,).
    Returns:
        (B, D, L), float32 (float64 where u is), and with `return_last_state` also the last state (B, D, N), which carries no
        gradient.
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
    order = identity_order(length, u.device)
    y, state = _run(engine, u, delta[:, None], A[None], B[:, None], C[:, None], D, delta_bias, order, delta_softplus)
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
    orders: Tensor,
    engine: str | None = None,
) -> Tensor:
    """Selective scans over one map in K directions, summed; softplus is applied to delta + delta_bias.

    Everything goes in and comes out in spatial order: the engine walks `orders` and no map is flipped or transposed.

    Shape:
        u: (B, C, L). delta: (B, K, C, L). A: (K, C, N), real. B, C: (B, K, N, L). D, delta_bias: (K, C).
        orders: (K, L) int64, each row a permutation of 0..L-1: the positions in the order in which the scan visits them.
    Returns:
        (B, C, L), float32 (float64 where u is).
    Raises:
        ValueError: an argument's shape, device or type is wrong, a row of `orders` is no permutation, or the engine is unknown.
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
    _check_orders(orders, u.device, (directions, length))
    return _run(engine, u, delta, A, B[:, :, None], C[:, :, None], D, delta_bias, orders, True)[0]


def _check_map(u: Tensor, wanted: str) -> None:
    if u.dim() != 3 or 0 in u.shape:
        raise ValueError(f"u: got shape {tuple(u.shape)}, wanted {wanted}, each above zero")


def _check(name: str, tensor: Tensor | None, u: Tensor, shape: tuple[int | None, ...]) -> None:
    """Shape (None stands for any size above zero), device and realness of one argument."""
    if tensor is None:
        return
    fits = tensor.dim() == len(shape) and all(
        size > 0 if want is None else size == want for size, want in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name}: got shape {tuple(tensor.shape)}, wanted ({wanted})")
    if tensor.device != u.device:
        raise ValueError(f"{name}: got device {tensor.device}, wanted that of u, {u.device}")
    if not tensor.is_floating_point():
        raise ValueError(f"{name}: got {tensor.dtype}, wanted a real floating point type")


def _check_orders(orders: Tensor, device: torch.device, shape: tuple[int, int]) -> None:
    if tuple(orders.shape) != shape or orders.dtype != torch.int64 or orders.device != device:
        raise ValueError(
            f"orders: got {tuple(orders.shape)} {orders.dtype} on {orders.device}, wanted {shape} torch.int64 on {device}"
        )
    if torch.compiler.is_compiling() or _is_exporting():
        return
    # Orders are cached and used thousands of times: one check is enough, until the tensor is written to.
    version = None if orders.is_inference() else orders._version
    if getattr(orders, "checked_version", "never") == version:
        return
    seen = torch.zeros(shape, dtype=torch.bool, device=device)
    inside = ((orders >= 0) & (orders < shape[1])).all()
    if not inside or not seen.scatter_(1, orders, True).all():
        raise ValueError("orders: got a row that is not a permutation, wanted each position 0..L-1 once in every row")
    orders.checked_version = version


def _run(engine, u, delta, A, B, C, D, delta_bias, orders, delta_softplus) -> tuple[Tensor, Tensor]:
    """Output and last states in at least float32, whatever autocast says."""
    dtype = torch.promote_types(u.dtype, torch.float32)
    name = _choose(engine, u.device.type, dtype)
    with torch.autocast(device_type=u.device.type, enabled=False):
        tensors = [x.to(dtype) for x in (u, delta, A, B, C, D, delta_bias)]
        if name == REFERENCE:
            _log_choice(name, u.device.type)
            return reference.scan(*tensors, orders, delta_softplus)
        if _is_exporting():
            return torch_engine.exportable_scan(*tensors, orders, delta_softplus)
        keep = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
        return _scan(*(x.contiguous() for x in tensors), orders.contiguous(), delta_softplus, name, keep)[:2]


def _is_exporting() -> bool:
    """Whether torch.export, or one of the two ONNX exporters, is looking: they cannot take our operator along."""
    return _torch_is_exporting() or torch.onnx.is_in_onnx_export()


def _choose(engine: str | None, device: str, dtype: torch.dtype) -> str:
    name = engine or os.environ.get(VARIABLE) or _default(device, dtype)
    if name == REFERENCE:
        return name
    if name not in ENGINES:
        raise ValueError(
            f"engine: got {name!r}, wanted one of {', '.join([REFERENCE, *ENGINES])} (argument or {VARIABLE})"
        )
    chosen = ENGINES[name]
    if chosen.device not in (None, device) and not (name == "triton" and os.environ.get("TRITON_INTERPRET") == "1"):
        raise ValueError(
            f"engine: got {name!r} for tensors on {device}, wanted them on {chosen.device}, or engine 'torch'"
        )
    if dtype == torch.float64 and not chosen.float64:
        raise ValueError(f"engine: got {name!r} for float64, wanted float32 tensors, or engine 'torch'")
    return name


def _default(device: str, dtype: torch.dtype) -> str:
    if dtype == torch.float64:
        return "torch"
    if device == "cuda":
        return _default_on_cuda()
    return "cpu" if device == "cpu" else "torch"


@torch.compiler.assume_constant_result
def _default_on_cuda() -> str:
    """A constant for torch.compile, which must not trace how it is found; it believes the mark on a plain function alone."""
    return _best_on_cuda()


@cache
def _best_on_cuda() -> str:
    """Triton, which torch for CUDA brings along, or mamba-ssm's kernel where that is built and measurably the faster; of these
    only what computes the right thing on this GPU, and torch where nothing else does.
    """
    from nnunet_mamba.ops import contest

    needs = {"triton": "triton", "mamba_ssm": "selective_scan_cuda"}
    modules = {ENGINES[name].module: name for name, needed in needs.items() if find_spec(needed) is not None}
    working = [module for module in modules if contest.works(module)]
    if not working:
        return "torch"
    return modules[working[0] if len(working) == 1 else contest.faster(*working)]


@cache
def _log_choice(name: str, device: str) -> None:
    logger.info("selective scan on %s: engine '%s'", device, name)


def _module(name: str):
    return import_module(ENGINES[name].module)


# torch asks `inspect` which module registers an operator, and `inspect` would look at each module loaded, for 30 to 70 ms of
# every start of nnU-Net with one of our trainers: what it would find is written into its list here.
getattr(inspect, "modulesbyfile", {})[__file__] = __name__


@torch.library.custom_op("nnunet_mamba::scan", mutates_args=())
def _scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    orders: Tensor,
    delta_softplus: bool,
    engine: str,
    keep: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    _log_choice(engine, u.device.type)
    return _module(engine).scan_forward(u, delta, A, B, C, D, delta_bias, orders, delta_softplus, keep)


@_scan.register_fake
def _(u, delta, A, B, C, D, delta_bias, orders, delta_softplus, engine, keep):
    batch, channels, length = u.shape
    directions, _, states = A.shape
    checkpoints = _module(engine).checkpoint_shape(batch, directions, channels, states, length) if keep else 0
    return torch.empty_like(u), u.new_empty(batch, directions, channels, states), u.new_empty(checkpoints)


@torch.library.custom_op("nnunet_mamba::scan_backward", mutates_args=())
def _scan_backward(
    grad_output: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    orders: Tensor,
    delta_softplus: bool,
    checkpoints: Tensor,
    engine: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _module(engine).scan_backward(
        grad_output, u, delta, A, B, C, D, delta_bias, orders, delta_softplus, checkpoints
    )


@_scan_backward.register_fake
def _(grad_output, u, delta, A, B, C, D, delta_bias, orders, delta_softplus, checkpoints, engine):
    return tuple(torch.empty_like(x) for x in (u, delta, A, B, C, D, delta_bias))


def _setup_context(ctx, inputs, output):
    *tensors, ctx.delta_softplus, ctx.engine, _ = inputs
    ctx.save_for_backward(*tensors, output[2])
    ctx.set_materialize_grads(False)


def _backward(ctx, grad_output, grad_last_state, grad_checkpoints):
    *tensors, checkpoints = ctx.saved_tensors
    if grad_output is None:
        return (None,) * 11
    if not checkpoints.numel():
        raise RuntimeError("the scan ran without what its backward needs: it was recorded where no gradient was wanted")
    grads = _scan_backward(grad_output.contiguous(), *tensors, ctx.delta_softplus, checkpoints, ctx.engine)
    return *grads, None, None, None, None


_scan.register_autograd(_backward, setup_context=_setup_context)
