"""The scan of a map as `torch.export` and ONNX take it: loops of torch's own `scan`, which become ONNX's `Scan`.

A loop's step is a dozen operators, and a runtime spends microseconds on each, so a step must be large. With many
channels it is: `_in_steps` takes one step of all directions, channels and states at a time. With few channels
`_in_chunks` cuts the walk into chunks that take their steps together, each from a zero state; carries the states from
chunk to chunk; and adds what the carried states contribute. Nothing of the size of all states of all steps is kept.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from nnunet_mamba.ops.scan_orders import ScanOrders
from nnunet_mamba.ops.switch import Switch

FEW_CHANNELS = 31  # with more, single steps are as fast as chunks
STATES_PER_STEP = 2**17  # of all chunks together: 512 KiB, about what a core's cache holds
TINY = 1e-30
DOMAIN, NAME = "nnunet_mamba", "ProjectedScan"  # of the node that stands for a scan inside `named_scans`
_named = Switch("named")


def named_scans() -> AbstractContextManager[None]:
    """Inside, each `projected_scan` is one node that only ONNX's exporter knows: the loops are put in afterwards.

    A node takes milliseconds to export, its loops take seconds. Scans of the same sizes are one function of ONNX.
    """
    return _named.on()


def projected_scan(
    u: Tensor,
    delta_weight: Tensor,
    dt_proj_weight: Tensor,
    B_weight: Tensor,
    C_weight: Tensor,
    A: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    orders: ScanOrders,
) -> Tensor:
    """`nnunet_mamba.ops.projected_scan` in operators that exporters know, for a batch of any size.

    Shape:
        u: (B, C, L). delta_weight: (K, R, C). dt_proj_weight: (K, C, R). B_weight, C_weight: (K, N, C). A: (K, C, N).
        D, delta_bias: (K, C). orders: K walks over L positions.
    Returns:
        (B, C, L).
    """
    if _named:
        tensors = u, delta_weight, dt_proj_weight, B_weight, C_weight, A, D, delta_bias, orders.positions
        return torch.onnx.ops.symbolic(f"{DOMAIN}::{NAME}", tensors, dtype=u.dtype, shape=u.shape, version=1)
    scan = _in_chunks if u.shape[1] <= FEW_CHANNELS else _in_steps
    y = scan(u, delta_weight, dt_proj_weight, B_weight, C_weight, A, delta_bias, orders)
    return y + D.sum(0)[:, None] * u


@cache
def is_available() -> bool:
    """Whether this torch has the loop; it must be able to write it as ONNX as well, so torch before 2.9 has not."""
    from packaging.version import Version

    return Version(torch.__version__) >= Version("2.9") and find_spec("torch._higher_order_ops.scan") is not None


def _loop(step: Callable, state: Any, sequences: Any) -> Any:
    """The last state and the stacked outputs of `step(state, element of the sequences)`."""
    from torch._higher_order_ops.scan import scan  # imports torch._dynamo: seconds

    return scan(step, state, sequences)


def _softplus(x: Tensor) -> Tensor:
    """As torch's, to the last digit where it is small: log(1 + e) alone, which exporters write, is not."""
    e = torch.exp(-x.abs())
    rounded = 1 + e
    return x.relu() + e * torch.log(rounded) / (rounded - 1).clamp(min=TINY)


def _in_steps(u, delta_weight, dt_proj_weight, B_weight, C_weight, A, delta_bias, orders):
    batch, channels, length = u.shape
    directions, _, states = A.shape
    tokens = u.transpose(1, 2)[:, None]  # (B, 1, L, C)
    dt, B, C = (tokens @ weight.transpose(1, 2) for weight in (delta_weight, B_weight, C_weight))  # (B, K, L, ...)
    delta = _softplus(dt @ dt_proj_weight.transpose(1, 2) + delta_bias[:, None])
    first = length * torch.arange(directions, device=u.device)[:, None]
    visits = (orders.positions + first).t().reshape(-1)

    def walked(x: Tensor) -> Tensor:
        """(B, K, L, X) -> (L, K, B, X), in the order of the visits."""
        x = x.permute(1, 2, 0, 3).reshape(directions * length, batch, x.shape[3])
        return x.index_select(0, visits).unflatten(0, (length, directions))

    drive = walked(delta * tokens)[:, :, None]  # (L, K, 1, B, C)
    B, C = (walked(x).transpose(2, 3)[..., None] for x in (B, C))  # (L, K, N, B, 1)
    A = A.transpose(1, 2)[:, :, None].contiguous()  # (K, N, 1, C), in memory as the states are: the loop wants it

    def step(state, now):
        delta, drive, B, C = now
        state = torch.exp(delta * A) * state + drive * B
        return state, (state * C).sum(1)

    start = u.new_zeros(directions, states, batch, channels)
    _, y = _loop(step, start, (walked(delta)[:, :, None], drive, B, C))  # (L, K, B, C)
    returns = orders.steps * directions + torch.arange(directions, device=u.device)[:, None]
    y = y.flatten(0, 1).index_select(0, returns.reshape(-1)).unflatten(0, (directions, length))
    return y.sum(0).permute(1, 2, 0)


def _in_chunks(u, delta_weight, dt_proj_weight, B_weight, C_weight, A, delta_bias, orders):
    batch, channels, length = u.shape
    directions, _, states = A.shape
    steps, chunks = _steps_and_chunks(length, directions * channels * states)
    delta_weight = torch.bmm(dt_proj_weight, delta_weight)  # (K, C, C)
    delta_bias = delta_bias[..., None]
    B_weight, C_weight = B_weight.clone(), C_weight.clone()  # torch's loop takes no two views of one tensor
    A = A.transpose(1, 2)[..., None].contiguous()  # (K, N, C, 1), in memory as the states are: the loop wants it
    # the last chunk may go on past the end of the walk: nothing comes after it
    visits = pad(orders.positions, (0, steps * chunks - length)).view(directions, chunks, steps).permute(2, 0, 1)
    walked = u.index_select(2, visits.reshape(-1)).unflatten(2, (steps, directions, chunks))
    walked = walked.permute(2, 3, 1, 0, 4).contiguous().flatten(3)  # (T, K, C, B x chunks)

    def step(state, u):
        delta = _softplus(torch.bmm(delta_weight, u) + delta_bias)
        B, C = torch.bmm(B_weight, u)[:, :, None], torch.bmm(C_weight, u)[:, :, None]
        state = torch.exp(delta[:, None] * A) * state + (delta * u)[:, None] * B
        return state, ((state * C).sum(1), delta)

    start = u.new_zeros(directions, states, channels, batch * chunks)
    added, (y, delta) = _loop(step, start, walked)
    if chunks > 1:
        decay = torch.exp(delta.sum(0)[:, None] * A)
        by_chunk = (x.unflatten(3, (batch, chunks)).permute(4, 0, 1, 2, 3).contiguous() for x in (added, decay))
        _, starts = _loop(_carry, u.new_zeros(directions, states, channels, batch), tuple(by_chunk))
        starts = starts.permute(1, 2, 3, 4, 0).contiguous().flatten(3)  # as `added`

        def correct(elapsed, now):
            u, delta, y = now
            elapsed = elapsed + delta
            C = torch.bmm(C_weight, u)[:, :, None]
            return elapsed, y + (torch.exp(elapsed[:, None] * A) * starts * C).sum(1)

        _, y = _loop(correct, torch.zeros_like(y[0]), (walked, delta, y))
    y = y.unflatten(3, (batch, chunks)).permute(3, 2, 0, 1, 4).flatten(2)  # (B, C, T x K x chunks)
    step_in_chunk, chunk = orders.steps % steps, orders.steps // steps
    direction = torch.arange(directions, device=u.device)[:, None]
    returns = (step_in_chunk * directions + direction) * chunks + chunk
    return y.index_select(2, returns.reshape(-1)).unflatten(2, (directions, length)).sum(2)


def _carry(state, now):
    """Emits the state in which a chunk starts."""
    added, decay = now
    return decay * state + added, state.clone()


def _steps_and_chunks(length: int, states: int) -> tuple[int, int]:
    """Steps per chunk, and chunks, for so many states of a step: large steps, and not many more chunks than steps."""
    chunks = max(1, min(STATES_PER_STEP // states, 2 * math.isqrt(length)))
    steps = -(-length // chunks)
    return steps, -(-length // steps)
