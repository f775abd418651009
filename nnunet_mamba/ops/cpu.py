"""The CPU engine: Numba kernels (see _cpu_kernels.py) over work items that torch's number of threads share.

The threads are Python's own, since the kernels release the interpreter lock: Numba's OpenMP layer kills a forked child that uses
it, and its other layers do not bear two callers. Numba is imported, and the kernels are compiled or read from the disk cache,
when the first scan runs.
"""

import itertools
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

import numpy as np
import torch
from torch import Tensor

logger = logging.getLogger("nnunet_mamba")

LANES = 16
CHUNK = 64

MOST_KEPT = 2**23  # floats of scratch memory

_own = threading.local()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0


def checkpoint_shape(batch: int, directions: int, channels: int, states: int, length: int) -> tuple[int, ...]:
    """The state before every CHUNK-th step."""
    return batch, directions, -(-length // CHUNK), states, channels


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
    keep: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Shapes as in reference.py, float32 and contiguous.

    Returns:
        The sum over directions (B, C, L), the last states (B, K, C, N), and the checkpoints that scan_backward needs, none without
        `keep`.
    """
    kernels = _kernels()
    sizes = _sizes(u, A, B)
    batch, directions, channels, groups, states, length = sizes
    items, parts, _ = _work(sizes)
    y = u.new_empty(parts, *u.shape)
    last_state = u.new_empty(batch, directions, channels, states)
    checkpoints = u.new_empty(checkpoint_shape(batch, directions, channels, states, length) if keep else 0)
    starts, lows, counts, places = kernels.cut(orders.numpy())
    rows = int((starts[:, 1:] - starts[:, :-1]).max())
    inputs = [_flat(x) for x in (u, delta, A, B, C, D, delta_bias)]
    outputs = [_flat(x) for x in (y, last_state, checkpoints)]
    arguments = (sizes, *inputs, starts, lows, counts, places.reshape(-1), delta_softplus, rows)
    size = kernels.scratch_size(rows, states, max(item[4] - item[3] for item in items))
    _share(lambda item, scratch: kernels.forward(item[:-1], *arguments, scratch, *outputs), items, size)
    return _total(y), last_state, checkpoints


def scan_backward(
    grad_y: Tensor,
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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, delta, A, B, C, D and delta_bias, for that of scan_forward's first output."""
    kernels = _kernels()
    sizes = _sizes(u, A, B)
    batch, directions, channels, groups, states, length = sizes
    items, parts, block_parts = _work(sizes)
    du = u.new_empty(parts, *u.shape)
    ddelta = torch.empty_like(delta)
    dB, dC = (u.new_empty(block_parts, *B.shape) for _ in range(2))
    dA = A.new_zeros(batch, *A.shape, dtype=torch.float64)
    dD, ddelta_bias = (A.new_zeros(batch, *D.shape, dtype=torch.float64) for _ in range(2))
    starts, lows, counts, places = kernels.cut(orders.numpy())
    rows = int((starts[:, 1:] - starts[:, :-1]).max())
    inputs = [_flat(x) for x in (grad_y, u, delta, A, B, C, D, delta_bias)]
    outputs = [_flat(x) for x in (du, ddelta, dA, dB, dC, dD, ddelta_bias)]
    arguments = (sizes, *inputs, starts, lows, counts, places.reshape(-1), delta_softplus, _flat(checkpoints), rows)
    size = kernels.scratch_size(rows, states, max(item[4] - item[3] for item in items))
    _share(lambda item, scratch: kernels.backward(item, *arguments, scratch, *outputs), items, size)
    small = (x.sum(0).float() for x in (dA, dD, ddelta_bias))
    dA, dD, ddelta_bias = small
    return _total(du), ddelta, dA, _total(dB), _total(dC), dD, ddelta_bias


def _sizes(u: Tensor, A: Tensor, B: Tensor) -> tuple[int, ...]:
    return u.shape[0], A.shape[0], u.shape[1], B.shape[2], A.shape[2], u.shape[2]


def _flat(x: Tensor):
    return x.detach().view(-1).numpy()


def _total(parts: Tensor) -> Tensor:
    return parts[0] if len(parts) == 1 else parts.sum(0)


def _work(sizes: tuple[int, ...]) -> tuple[list[tuple[int, ...]], int, int]:
    """Work items, and into how many parts with an output copy of their own the directions and the blocks are split.

    An item is a batch entry and a group; where these do not keep all threads busy, its blocks of 16 channels are split, then
    its directions.
    """
    batch, directions, channels, groups, _, _ = sizes
    threads = torch.get_num_threads()
    blocks = -(-(channels // groups) // LANES)
    block_parts = min(blocks, _split(batch * groups, threads))
    parts = min(directions, _split(batch * groups * block_parts, threads))
    items = []
    for b, g, i, j in itertools.product(range(batch), range(groups), range(block_parts), range(parts)):
        block_range = blocks * i // block_parts, blocks * (i + 1) // block_parts
        direction_range = directions * j // parts, directions * (j + 1) // parts
        items.append((b, g, j, *block_range, *direction_range, i))
    return items, parts, block_parts


def _split(items: int, threads: int) -> int:
    """Into how many parts to split each item: none if threads get equal shares, or so many that shares do not matter."""
    return 1 if items % threads == 0 or items >= 4 * threads else threads


def _share(run, items: list[tuple[int, ...]], scratch_size: int) -> None:
    """Run every item, in at most torch's number of threads, this one among them, each with scratch memory of its own."""
    helpers = min(torch.get_num_threads(), len(items)) - 1
    counter = itertools.count()  # its next() is one step under the interpreter lock

    def work():
        scratch = _scratch(scratch_size)
        while (i := next(counter)) < len(items):
            run(items[i], scratch)

    futures = [_threads(helpers).submit(work) for _ in range(helpers)]
    try:
        work()
    finally:
        wait(futures)
    for future in futures:
        future.result()


def _scratch(size: int) -> np.ndarray:
    """This thread's memory to work in, kept from call to call up to 32 MiB: fresh pages cost a tenth of a short scan."""
    scratch = getattr(_own, "scratch", None)
    if scratch is None or len(scratch) < size:
        scratch = np.empty(size, np.float32)  # NumPy asks for huge pages, torch does not
        _own.scratch = scratch if size <= MOST_KEPT else None
    return scratch


def _threads(helpers: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    if _pool is None or _pool_size < helpers:
        if _pool is not None:
            _pool.shutdown(wait=False)
        _pool, _pool_size = ThreadPoolExecutor(helpers, thread_name_prefix="nnunet_mamba_scan"), helpers
    return _pool


def _forget_threads() -> None:
    global _pool, _pool_size
    _pool, _pool_size = None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)  # a forked child inherits the pool, but none of its threads


@cache
def _kernels():
    from numba.core import event

    from nnunet_mamba.ops import _cpu_kernels

    class Announce(event.Listener):
        said = False

        def on_start(self, event):
            if not self.said:
                logger.info("compiling the CPU scan kernels (once, cached on disk) ...")
            self.said = True

        def on_end(self, event):
            pass

    assert (_cpu_kernels.CHUNK, _cpu_kernels.LANES) == (CHUNK, LANES)
    event.register("numba:compile", Announce())
    return _cpu_kernels
