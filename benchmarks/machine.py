"""This machine's limits: exponentials per second in vector registers, and bytes per second from memory."""

import concurrent.futures
from collections.abc import Callable

import numba
import numpy as np
import torch

from nnunet_mamba.ops._simd import LANES, exp2, load, splat, store

CHAINS = 8  # independent exponentials in flight: enough to hide their latency
EXPONENTIALS = 2**28
IN_CACHE = 2**15  # floats: few enough that torch leaves them to one thread


@numba.njit(nogil=True)
def _exponentials(turns, lanes):
    """turns * CHAINS * LANES exponentials of numbers in [-1, 0], without memory access in between."""
    one = splat(1.0)
    a, b, c, d = load(lanes, 0), load(lanes, 16), load(lanes, 32), load(lanes, 48)
    e, f, g, h = load(lanes, 64), load(lanes, 80), load(lanes, 96), load(lanes, 112)
    for _ in range(turns):
        a, b, c, d = exp2(a) - one, exp2(b) - one, exp2(c) - one, exp2(d) - one
        e, f, g, h = exp2(e) - one, exp2(f) - one, exp2(g) - one, exp2(h) - one
    store(lanes, 0, a + b + c + d + e + f + g + h)


def exponentials(count: int) -> Callable[[], None]:
    """A call that computes `count` exponentials with the engine's own exp2, on torch's number of threads."""
    turns = count // (CHAINS * LANES * torch.get_num_threads())
    return _on_all_threads(lambda: _exponentials(turns, np.zeros(CHAINS * LANES, np.float32)))


def torch_exponentials(count: int) -> Callable[[], None]:
    """A call that computes `count` exponentials with torch, on the same few numbers, which stay in the cache."""
    turns = max(1, count // (IN_CACHE * torch.get_num_threads()))

    def work():
        x = -torch.rand(IN_CACHE)
        y = torch.empty_like(x)
        for _ in range(turns):
            torch.exp(x, out=y)

    return _on_all_threads(work)


def _on_all_threads(work: Callable[[], None]) -> Callable[[], None]:
    threads = torch.get_num_threads()
    pool = concurrent.futures.ThreadPoolExecutor(threads)
    return lambda: list(pool.map(lambda _: work(), range(threads)))


def copy(size: int) -> Callable[[], torch.Tensor]:
    """A call that reads and writes `size` bytes each."""
    source, target = torch.ones(size // 4), torch.empty(size // 4)
    return lambda: target.copy_(source)
