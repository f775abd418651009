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
from nnunet_mamba.ops._simd import LOG2_E, collect, collect_onto, load, spread

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
def lane_offsets(count, entries, channel_stride, entry_stride):
    """Where each lane reads: equal shares of the lanes hold `count` channels of a batch entry, and repeat the last."""
    share = LANES // entries
    offsets = np.empty(LANES, np.int64)
    for i in range(LANES):
        offsets[i] = i // share * entry_stride + min(i % share, count - 1) * channel_stride
    return offsets


@jit
def fill(source, start, offsets, segment, panel, column, width):
    """panel[row(j), column + i] = source[start + offsets[i] + j] for 16 lanes i.

    `segment` is (step_of, offset, first, size): j < size, and row(j) = step_of[offset + j] - first. Rows have `width`
    floats.
    """
    step_of, offset, first, size = segment
    whole = size - size % LANES
    for j in range(0, whole, LANES):
        spread(source, start + j, offsets, step_of, offset + j, first, panel, column, width)
    for j in range(whole, size):
        row = (step_of[offset + j] - first) * width + column
        for i in range(LANES):
            panel[row + i] = source[start + offsets[i] + j]


@jit
def drain(panel, column, width, segment, target, start, offsets, add):
    """target[start + offsets[i] + j] = panel[row(j), column + i], or += with `add`. See `fill`.

    Of lanes with the same offset, the first counts.
    """
    step_of, offset, first, size = segment
    whole = size - size % LANES
    for j in range(0, whole, LANES):
        if add:
            collect_onto(panel, column, width, step_of, offset + j, first, target, start + j, offsets)
        else:
            collect(panel, column, width, step_of, offset + j, first, target, start + j, offsets)
    for j in range(whole, size):
        row = (step_of[offset + j] - first) * width + column
        for i in range(LANES):
            if i == 0 or offsets[i] != offsets[i - 1]:
                at = start + offsets[i] + j
                target[at] = target[at] + panel[row + i] if add else panel[row + i]


@jit
def lane_rows(source, start, offsets, states, rows, factor):
    """rows[n, i] = factor source[start + offsets[i] + n] for 16 lanes i."""
    for n in range(states):
        for i in range(LANES):
            rows[n * LANES + i] = source[start + offsets[i] + n] * factor


@jit
def lane_parameters(A, D, delta_bias, first, states, count, entries, scratch):
    """The lanes' D and delta_bias, for `count` channels from `first` on (of all directions); A goes to scratch.rate."""
    in_channels = lane_offsets(count, entries, 1, 0)
    lane_rows(A, first * states, lane_offsets(count, entries, states, 0), states, scratch.rate, LOG2_E)
    lane_rows(D, first, in_channels, 1, scratch.skip, 1.0)
    lane_rows(delta_bias, first, in_channels, 1, scratch.bias, 1.0)
    return load(scratch.skip, 0), load(scratch.bias, 0)
