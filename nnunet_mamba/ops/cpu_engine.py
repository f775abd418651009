"""The scan on a CPU: fused kernels compiled by Numba, on as many threads as torch may use.

The kernels (cpu_kernels.py) hold one state vector a channel in a register and walk the order; nothing of size
(B, K, C, L, N) is ever stored. Batch items, and halves of the channels where there are fewer items than threads, go to plain
Python threads: the kernels release the GIL, and unlike Numba's own threads these do not break in nnU-Net's forked workers.
"""

import logging
import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad, softplus

logger = logging.getLogger("nnunet_mamba")

LANES = 16
LOG2_E = math.log2(math.e)


def checkpoint_shape(batch: int, directions: int, channels: int, states: int, length: int) -> tuple[int, ...]:
    """Shape of what `scan_forward` keeps for `scan_backward`: the state that each chunk starts with."""
    blocks = -(-states // LANES)
    return blocks, batch, directions, -(-length // _kernels().CHUNK), channels, LANES


def scan_forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    orders: Tensor,
    delta_softplus: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Shapes as in `reference.scan`, float32; returns the output, the last states and the chunks' first states."""
    batch, channels, length = u.shape
    directions, _, states = A.shape
    step = _step(delta, delta_bias, delta_softplus)
    output = u * D.sum(0)[:, None]
    starts = u.new_empty(checkpoint_shape(batch, directions, channels, states, length))
    last_state = u.new_empty(len(starts), batch, directions, channels, LANES)
    for block, first in enumerate(range(0, states, LANES)):
        A_block, B_block, C_block = _block(A, B, C, first)
        sizes = (channels, length, directions, B.shape[2], B_block.shape[3], starts.shape[3])
        arrays = _flat(u, step, A_block, B_block, C_block)
        rest = (orders.numpy(), *_flat(output, starts[block], last_state[block]), sizes)
        _in_threads(
            [(_kernels().forward, *arrays, *rest, item, low, high) for item, low, high in _shares(batch, channels)]
        )
    last_state = last_state.permute(1, 2, 3, 0, 4).flatten(3)[..., :states].contiguous()
    return output, last_state, starts


def scan_backward(
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
    starts: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients to u, delta, A, B, C, D and delta_bias; the states inside a chunk are computed again."""
    batch, channels, length = u.shape
    directions, _, states = A.shape
    step = _step(delta, delta_bias, delta_softplus)
    du = grad_output * D.sum(0)[:, None]
    ddelta, dA, dB, dC = (torch.zeros_like(x) for x in (delta, A, B, C))
    shares = _shares(batch, channels)
    for block, first in enumerate(range(0, states, LANES)):
        A_block, B_block, C_block = _block(A, B, C, first)
        sizes = (channels, length, directions, B.shape[2], B_block.shape[3], starts.shape[3])
        arrays = _flat(grad_output, u, step, A_block, B_block, C_block)
        rest = (orders.numpy(), *_flat(starts[block], du, ddelta))
        dA_items = A.new_zeros(batch, *A_block.shape)
        dB_shares, dC_shares = (B.new_zeros(len(shares), *B_block.shape[1:]) for _ in range(2))
        _in_threads(
            [
                (_kernels().backward, *arrays, *rest, *_flat(dA_items[item], dB_shares[i], dC_shares[i]), sizes, item, low, high)
                for i, (item, low, high) in enumerate(shares)
            ]
        )
        here = slice(first, first + LANES)
        dA[..., here] = dA_items.sum(0)[..., : states - first]
        for gradient, parts in ((dB, dB_shares), (dC, dC_shares)):
            gradient[:, :, :, here] = parts.unflatten(0, (batch, -1)).sum(1)
    if delta_softplus:
        ddelta *= -torch.expm1(-step)  # the slope of softplus, from its value
    dD = (grad_output * u).sum((0, 2)).expand_as(D).contiguous()
    return du, ddelta, dA, dB, dC, dD, ddelta.sum((0, 3))


def _step(delta: Tensor, delta_bias: Tensor, delta_softplus: bool) -> Tensor:
    raw = delta + delta_bias[:, :, None]
    return softplus(raw, threshold=60.0) if delta_softplus else raw


def _block(A: Tensor, B: Tensor, C: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sixteen states of A, padded, with its exponential turned into a power of two; and of B and C, not padded."""
    A = A[..., first : first + LANES] * LOG2_E
    B, C = (x[:, :, :, first : first + LANES].contiguous() for x in (B, C))
    return pad(A, (0, LANES - A.shape[-1])), B, C


def _shares(batch: int, channels: int) -> list[tuple[int, int, int]]:
    """(batch item, first channel, end of channels), at least one share a thread where there is enough to share."""
    parts = min(channels, -(-torch.get_num_threads() // batch))
    bounds = [channels * part // parts for part in range(parts + 1)]
    return [(item, low, high) for item in range(batch) for low, high in zip(bounds, bounds[1:])]


def _flat(*tensors: Tensor):
    return [tensor.reshape(-1).numpy() if tensor.is_contiguous() else _refuse(tensor) for tensor in tensors]


def _refuse(tensor: Tensor):
    raise AssertionError(f"a copy of {tuple(tensor.shape)} would lose what a kernel writes into it")


def _in_threads(calls: list[tuple]) -> None:
    threads = min(torch.get_num_threads(), len(calls))
    if threads == 1:
        for function, *args in calls:
            function(*args)
    else:
        list(_pool(os.getpid(), threads).map(lambda call: call[0](*call[1:]), calls))


@lru_cache(maxsize=1)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """One pool a process: a forked child has its parent's pool object but none of its threads."""
    return ThreadPoolExecutor(threads, thread_name_prefix="nnunet_mamba_scan")


@lru_cache(maxsize=1)
def _kernels():
    logger.info("selective scan on cpu: compiling its kernels with Numba, once; they are cached on disk")
    from nnunet_mamba.ops import cpu_kernels

    return cpu_kernels
