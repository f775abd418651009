"""Panels of the CPU kernels: maps in the order of a walk, one row of 16 channels for each step.

An order is cut into segments, whose positions form one contiguous range each. A segment of a map is read in tiles of 16
channels and positions. Each position of a tile goes to the row of its step, a whole cache line. Row-major walks have
short segments, which stay in the L2 cache. A walk that jumps over the whole map, such as column-major, is one segment,
and its panels hold 16 channels of the map.

Importing this module loads Numba and compiles nothing. Numba's disk cache only notices changes in a kernel's own file:
after editing this one, touch _cpu_forward.py and _cpu_backward.py.
"""

# mypy: disable-error-code="call-arg, var-annotated"
# Numba's intrinsics take fewer arguments in a kernel than where they are defined.

import numba
import numpy as np

from nnunet_mamba.ops import _cpu_scratch
from nnunet_mamba.ops._cpu_scratch import CHUNK, LANES
from nnunet_mamba.ops._simd import collect, load, spread, store

SEGMENT = 4 * CHUNK  # steps of the shortest segment


def jit(function):
    """Compile without the interpreter lock, and keep the result on disk if a cache folder can be written."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)


round_up = jit(_cpu_scratch.round_up)


@jit
def cut(positions):
    """The segments of each walk: (K, S + 1) first steps, (K, S) lowest positions, (K,) numbers of segments."""
    directions, length = positions.shape
    most = (length + SEGMENT - 1) // SEGMENT
    starts = np.zeros((directions, most + 1), np.int64)
    lows = np.zeros((directions, most), np.int64)
    counts = np.zeros(directions, np.int64)
    for k in range(directions):
        step = 0
        while step < length:
            start, low, high = step, length, -1
            while step == start or (step < length and high - low + 1 != step - start):
                stop = min(step + SEGMENT, length)
                for t in range(step, stop):
                    low = min(low, positions[k, t])
                    high = max(high, positions[k, t])
                step = stop
            lows[k, counts[k]] = low
            counts[k] += 1
            starts[k, counts[k]] = step
    return starts, lows, counts


@jit
def fill(source, start, stride, count, segment, panel, column, width):
    """panel[row(j), column + i] = source[start + i stride + j] for 16 channels i; from `count` on they repeat the last.

    `segment` is (step_of, offset, first, size): j < size, and row(j) = step_of[offset + j] - first. Rows have `width`
    floats.
    """
    step_of, offset, first, size = segment
    whole = size - size % LANES
    for j in range(0, whole, LANES):
        spread(source, start + j, stride, count, step_of, offset + j, first, panel, column, width)
    for j in range(whole, size):
        row = (step_of[offset + j] - first) * width + column
        for i in range(LANES):
            panel[row + i] = source[start + min(i, count - 1) * stride + j]


@jit
def drain(panel, column, width, segment, count, target, start, stride, tile, add):
    """target[start + i stride + j] = panel[row(j), column + i] for i < count, or += with `add`. See `fill`."""
    step_of, offset, first, size = segment
    whole = size - size % LANES
    for j in range(0, whole, LANES):
        if count == LANES and not add:
            collect(panel, column, width, step_of, offset + j, first, target, start + j, stride)
            continue
        collect(panel, column, width, step_of, offset + j, first, tile, 0, LANES)
        for i in range(count):
            at = start + i * stride + j
            values = load(tile, i * LANES)
            store(target, at, load(target, at) + values if add else values)
    for j in range(whole, size):
        row = (step_of[offset + j] - first) * width + column
        for i in range(count):
            at = start + i * stride + j
            value = panel[row + i]
            target[at] = target[at] + value if add else value


@jit
def lane_rows(source, start, states, count, rows, factor):
    """rows[n, i] = factor source[start + i states + n] for 16 channels i. Channels from `count` on repeat the last."""
    for n in range(states):
        for i in range(LANES):
            rows[n * LANES + i] = source[start + min(i, count - 1) * states + n] * factor
