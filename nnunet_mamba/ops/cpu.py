"""The CPU engine: Numba kernels over work items, shared by as many threads as torch uses.

These are torch's OpenMP threads if they can be reached, otherwise Python's own: the kernels release the interpreter
lock. Numba's own threading layers cannot be used: its OpenMP kills a forked child that uses it, and the others do
not allow two callers at once. The first scan imports Numba, and compiles the kernels or reads them from the disk cache.
"""

import ctypes
import itertools
import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from nnunet_mamba.ops._cpu_scratch import (
    CHUNK,
    LANES,
    BackwardScratch,
    ForwardScratch,
    Scratch,
    backward_layout,
    carve,
    forward_layout,
    panels_apart,
    projected_backward_layout,
    projected_forward_layout,
    round_up,
    total,
)
from nnunet_mamba.ops._cpu_work import WorkItem, entries_per_vector, vectors, work
from nnunet_mamba.ops.engines import ProjectedInputs, ScanInputs, Sizes

logger = logging.getLogger("nnunet_mamba")

LANE_APART = {1: (0,), 2: (0, LANES // 2)}  # the lanes of each batch entry in a vector
MOST_KEPT = 2**24  # floats of scratch memory for all threads: 64 MiB

Item = TypeVar("Item")

_Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_own = threading.local()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_forked = False


def checkpoint_shape(sizes: Sizes) -> tuple[int, ...]:
    """The state before every CHUNK-th step, vector by vector."""
    return vectors(sizes), sizes.directions, -(-sizes.length // CHUNK), sizes.states, LANES


def scan_forward(inputs: ScanInputs, delta_softplus: bool, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """See ScanEngine."""
    kernels = load_kernels()
    sizes = inputs.sizes
    u = inputs.u
    items, parts, _ = work(sizes, torch.get_num_threads())
    y, last_state, checkpoints = outputs = _outputs(u, sizes, parts, keep)
    segments = kernels.cut(inputs.positions.numpy())
    arguments = tuple(sizes), _flat(*inputs), segments, delta_softplus, _flat(*outputs)
    rows = _longest(segments)

    def run(item: WorkItem, scratch: ForwardScratch) -> None:
        kernels.forward(item, panels_apart(rows, sizes.states, item.entries), scratch, *arguments)

    share(run, items, forward_layout(rows, sizes.states, _most_blocks(items), entries_per_vector(sizes)))
    return _total(y), last_state, checkpoints


def scan_backward(
    grad_output: Tensor, inputs: ScanInputs, delta_softplus: bool, checkpoints: Tensor
) -> tuple[Tensor, ...]:
    """See ScanEngine."""
    kernels = load_kernels()
    sizes = inputs.sizes
    u, delta, A, B, _, D, *_ = inputs
    items, parts, block_parts = work(sizes, torch.get_num_threads())
    du = u.new_empty(parts, *u.shape)
    ddelta = torch.empty_like(delta)
    dB, dC = (u.new_empty(block_parts, *B.shape) for _ in range(2))
    dA, dD, ddelta_bias = (x.new_zeros(sizes.batch, *x.shape, dtype=torch.float64) for x in (A, D, D))
    segments = kernels.cut(inputs.positions.numpy())
    (grad_y, kept), flat = _flat(grad_output, checkpoints), _flat(*inputs)
    arguments = tuple(sizes), flat, segments, delta_softplus, grad_y, kept
    gradients = _flat(du, ddelta, dA, dB, dC, dD, ddelta_bias)
    rows = _longest(segments)

    def run(item: WorkItem, scratch: BackwardScratch) -> None:
        kernels.backward(item, panels_apart(rows, sizes.states, item.entries), scratch, *arguments, gradients)

    share(run, items, backward_layout(rows, sizes.states, _most_blocks(items), entries_per_vector(sizes)))
    dA, dD, ddelta_bias = (x.sum(0).float() for x in (dA, dD, ddelta_bias))
    return _total(du), ddelta, dA, _total(dB), _total(dC), dD, ddelta_bias


def projected_scan_forward(inputs: ProjectedInputs, delta_softplus: bool, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """See ScanEngine."""
    kernels, sizes, u = load_kernels(), inputs.sizes, inputs.u
    items, parts, _ = work(sizes, torch.get_num_threads())
    y, last_state, checkpoints = outputs = _outputs(u, sizes, parts, keep)
    segments = kernels.cut(inputs.positions.numpy())
    flat = _flat(u, *_rows(inputs), inputs.A, inputs.D, inputs.delta_bias, inputs.steps)
    arguments = tuple(sizes), flat, segments, delta_softplus, _flat(*outputs)
    rows = _longest(segments)

    def run(item: WorkItem, scratch: ForwardScratch) -> None:
        apart, lane_apart = panels_apart(CHUNK, sizes.states, item.entries), LANE_APART[item.entries]
        kernels.projected_forward(item, apart, lane_apart, scratch, *arguments)

    share(run, items, projected_forward_layout(rows, sizes.states, entries_per_vector(sizes)))
    return _total(y), last_state, checkpoints


def projected_scan_backward(
    grad_output: Tensor, inputs: ProjectedInputs, delta_softplus: bool, checkpoints: Tensor
) -> tuple[Tensor, ...]:
    """See ScanEngine."""
    kernels, sizes, u = load_kernels(), inputs.sizes, inputs.u
    channels, states = sizes.channels, sizes.states
    items, parts, _ = work(sizes, torch.get_num_threads())
    du = u.new_empty(parts, *u.shape)
    weights = *_rows(inputs), inputs.A, inputs.D, inputs.delta_bias
    sums = [x.new_zeros(sizes.batch, *x.shape, dtype=torch.float64) for x in weights]
    segments = kernels.cut(inputs.positions.numpy())
    flat = _flat(u, *weights, inputs.steps)
    (columns,) = _flat(_step_rows(inputs.delta_weight.mT))
    arguments = (
        tuple(sizes),
        flat,
        columns,
        segments,
        delta_softplus,
        *_flat(grad_output, checkpoints),
        _flat(du, *sums),
    )
    rows = _longest(segments)

    def run(item: WorkItem, scratch: BackwardScratch) -> None:
        apart, lane_apart = panels_apart(CHUNK, states, item.entries), LANE_APART[item.entries]
        kernels.projected_backward(item, apart, lane_apart, scratch, *arguments)

    share(run, items, projected_backward_layout(rows, states, entries_per_vector(sizes)))
    dsteps, dB, dC, *others = (x.sum(0).float() for x in sums)
    if entries_per_vector(sizes) == 2:
        dsteps = dsteps[..., : LANES // 2] + dsteps[..., LANES // 2 :]
    ddelta_weight = dsteps[:, :channels, :channels].mT
    dB, dC = (x[:, :channels, :states].mT for x in (dB, dC))
    return _total(du), *(x.contiguous() for x in (ddelta_weight, dB, dC)), *others


def _outputs(u: Tensor, sizes: Sizes, parts: int, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """What a forward fills: a y for each part of the directions, the last states, and checkpoints if it keeps them."""
    last_state = u.new_empty(sizes.batch, sizes.directions, sizes.channels, sizes.states)
    return u.new_empty(parts, *u.shape), last_state, u.new_empty(checkpoint_shape(sizes) if keep else 0)


def _rows(inputs: ProjectedInputs) -> tuple[Tensor, Tensor, Tensor]:
    """The weights as the kernels read them: a row for each channel of u, filled up with zeros."""
    padding = 0, round_up(inputs.sizes.states, LANES) - inputs.sizes.states, 0, LANES - inputs.sizes.channels
    B_rows, C_rows = (pad(x.mT, padding).contiguous() for x in (inputs.B_weight, inputs.C_weight))
    return _step_rows(inputs.delta_weight), B_rows, C_rows


def _step_rows(weight: Tensor) -> Tensor:
    """(K, 16, 16): a row for each column of `weight`. If two batch entries fit in a row, both have the weights."""
    channels = weight.shape[-1]
    if channels > LANES // 2:
        return pad(weight.mT, (0, LANES - channels, 0, LANES - channels)).contiguous()
    half = pad(weight.mT, (0, LANES // 2 - channels, 0, LANES - channels))
    return torch.cat([half, half], dim=-1)


def _flat(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(x.detach().view(-1).numpy() for x in tensors)


def _total(parts: Tensor) -> Tensor:
    return parts[0] if len(parts) == 1 else parts.sum(0)


def _longest(segments: tuple[np.ndarray, ...]) -> int:
    starts = segments[0]
    return int((starts[:, 1:] - starts[:, :-1]).max())


def _most_blocks(items: list[WorkItem]) -> int:
    return max(item.last_block - item.first_block for item in items)


def share(run: Callable[[Item, Scratch], None], items: list[Item], layout: Scratch) -> None:
    """Run every item, on at most as many threads as torch uses, this one included. Each has its own scratch memory."""
    threads = min(torch.get_num_threads(), len(items))
    memory = _memory(threads, total(layout))
    counter, rows = itertools.count(), itertools.count()  # next() is atomic under the interpreter lock
    errors: list[BaseException] = []

    def work(_=None):
        try:
            own = carve(memory[next(rows)], layout)
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


def _memory(threads: int, size: int) -> np.ndarray:
    """At least `size` floats per thread. The calling thread keeps them, up to a limit: fresh pages take time."""
    kept = getattr(_own, "memory", None)
    if kept is None or len(kept) < threads or kept.shape[1] < size:
        kept = np.empty((threads, size), np.float32)  # NumPy asks for huge pages, torch does not
        _own.memory = kept if kept.size <= MOST_KEPT else None
    return kept


@cache
def _openmp():
    """GNU's entry to the OpenMP threads that torch uses, or None if torch uses others.

    They spin for milliseconds after each operator of torch, so threads of our own would compete with them for the
    cores.
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


if hasattr(os, "register_at_fork"):  # a forked child inherits pools, OpenMP's too, but none of their threads
    os.register_at_fork(after_in_child=_forget_threads)


class Kernels(NamedTuple):
    cut: Callable
    forward: Callable
    backward: Callable
    projected_forward: Callable
    projected_backward: Callable
    correlate: Callable
    convolve: Callable
    normalise: Callable
    normalise_back: Callable


@cache
def load_kernels() -> Kernels:
    from numba.core import event

    from nnunet_mamba.ops._cpu_backward import backward
    from nnunet_mamba.ops._cpu_depthwise import convolve, correlate
    from nnunet_mamba.ops._cpu_forward import forward
    from nnunet_mamba.ops._cpu_layer_norm import normalise, normalise_back
    from nnunet_mamba.ops._cpu_panels import cut
    from nnunet_mamba.ops._cpu_projected import projected_backward, projected_forward

    class Announce(event.Listener):
        said = False

        def on_start(self, event):
            if not self.said:
                logger.info("compiling the CPU scan kernels (once, cached on disk) ...")
            self.said = True

        def on_end(self, event):
            pass

    event.register("numba:compile", Announce())
    return Kernels(
        cut, forward, backward, projected_forward, projected_backward, correlate, convolve, normalise, normalise_back
    )
