"""The CPU engine: Numba kernels (see _cpu_kernels.py) over work items that torch's number of threads share.

The threads are those of torch's OpenMP where they can be reached, or Python's own, since the kernels release the interpreter
lock: Numba's OpenMP layer kills a forked child that uses it, and its other layers do not bear two callers. Numba is imported, and
the kernels are compiled or read from the disk cache, when the first scan runs.
"""

import ctypes
import itertools
import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

import numpy as np
import torch
from torch import Tensor

logger = logging.getLogger("nnunet_mamba")

LANES = 16
CHUNK = 64

MOST_KEPT = 2**24  # floats of scratch memory for all threads: 64 MiB

_Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_own = threading.local()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_forked = False


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
    threads = min(torch.get_num_threads(), len(items))
    scratch = _scratch(threads, scratch_size)
    counter, rows = itertools.count(), itertools.count()  # their next() is one step under the interpreter lock
    errors = []

    def work(_=None):
        try:
            own = scratch[next(rows)]
            while (i := next(counter)) < len(items):
                run(items[i], own)
        except BaseException as error:  # would be lost in OpenMP's threads
            errors.append(error)

    if threads == 1:
        work()
    elif not _forked and (parallel := _openmp()):
        parallel(_Callback(work), None, threads, 0)
    else:
        futures = [_threads(threads - 1).submit(work) for _ in range(threads - 1)]
        work()
        wait(futures)
    if errors:
        raise errors[0]


def _scratch(threads: int, size: int) -> np.ndarray:
    """Memory to work in, a row a thread, kept by the calling thread for the next scan if it is not too much: fresh pages take time."""
    kept = getattr(_own, "scratch", None)
    if kept is None or len(kept) < threads or kept.shape[1] < size:
        kept = np.empty((threads, size), np.float32)  # NumPy asks for huge pages, torch does not
        _own.scratch = kept if kept.size <= MOST_KEPT else None
    return kept


@cache
def _openmp():
    """GNU's entry to the OpenMP threads that torch itself uses, None where torch uses others.

    They spin for milliseconds after each of torch's operators: threads of our own would have to share the cores with them.
    """
    if not sys.platform.startswith("linux") or "OpenMP" not in torch.__config__.parallel_info():
        return None
    parallel = getattr(ctypes.CDLL(None), "GOMP_parallel", None)
    if parallel is not None:
        parallel.argtypes, parallel.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return parallel


def _threads(helpers: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    if _pool is None or _pool_size < helpers:
        if _pool is not None:
            _pool.shutdown(wait=False)
        _pool, _pool_size = ThreadPoolExecutor(helpers, thread_name_prefix="nnunet_mamba_scan"), helpers
    return _pool


def _forget_threads() -> None:
    global _forked, _pool, _pool_size
    _forked, _pool, _pool_size = True, None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        after_in_child=_forget_threads
    )  # a forked child inherits pools, OpenMP's too, but none of their threads


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
