"""The scan's kernels, compiled by Numba: a work item walks the orders with 16 channels in the lanes of a vector.

Maps are read and written in tiles: a segment of an order whose positions form one contiguous range is transposed into panels
with one row of 16 channels a position, so that any walk inside the segment touches whole cache lines. Row-major walks are cut
into short segments that stay in the L2 cache; a walk that jumps over the whole map, such as column-major, is one segment, and
its panels hold 16 channels of the map, no more. Importing this module loads Numba, and compiles nothing.
"""

import numba
import numpy as np

from nnunet_mamba.ops._simd import (
    LANES,
    LOG2_E,
    broadcast,
    exp2,
    flush_denormals,
    fma,
    load,
    prefetch,
    restore_denormals,
    row_sums,
    softplus_and_slope,
    splat,
    store,
    transpose,
)

CHUNK = 64  # steps between two checkpoints: the states of one chunk stay in the L2 cache while the backward recomputes them
SEGMENT = 4 * CHUNK
TILE = LANES * LANES


def _jit(**options):
    def decorate(function):
        try:
            return numba.njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache folder can be written
            return numba.njit(nogil=True, **options)(function)

    return decorate


def scratch_size(rows, states, blocks):
    """Floats that either kernel carves its panels and tiles from, for items of at most so many blocks."""
    width = (states + LANES - 1) // LANES * LANES
    panels = rows * (4 * LANES + 4 * width)
    shared = LANES * (blocks * states + states) + TILE + 3 * LANES
    forward_only = CHUNK * (3 * LANES + 2 * width)
    backward_only = LANES * ((2 * CHUNK + 2) * states + 2 * width)
    return panels + shared + max(forward_only, backward_only)


@_jit()
def cut(orders):
    """Segments of every direction: (K, S + 1) first steps, (K, S) lowest positions, (K,) numbers of segments."""
    directions, length = orders.shape
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
                    low = min(low, orders[k, t])
                    high = max(high, orders[k, t])
                step = stop
            lows[k, counts[k]] = low
            counts[k] += 1
            starts[k, counts[k]] = step
    return starts, lows, counts


@_jit()
def _first_line(scratch):
    """Where a cache line starts: vectors that straddle two cost twice."""
    return -(scratch.ctypes.data // 4) % LANES


@_jit()
def _carve(scratch, start, size):
    """The next `size` of the scratch memory, whole cache lines, and where the one after it starts."""
    stop = start + (size + LANES - 1) // LANES * LANES
    return scratch[start : start + size], stop


@_jit()
def _fill(source, start, stride, count, size, panel, column, width):
    """panel[j, column + i] = source[start + i stride + j] for j < size and 16 rows i, the last of `count` repeated."""
    whole = size - size % LANES
    for j in range(0, whole, LANES):
        transpose(source, start + j, stride, count, panel, j * width + column, width)
    for j in range(whole, size):
        for i in range(LANES):
            panel[j * width + column + i] = source[start + min(i, count - 1) * stride + j]


@_jit()
def _drain(panel, column, width, count, size, target, start, stride, tile, add):
    """target[start + i stride + j] = panel[j, column + i] for j < size and i < count, or += with `add`."""
    whole = size - size % LANES
    for j in range(0, whole, LANES):
        transpose(panel, j * width + column, width, LANES, tile, 0, LANES)
        for i in range(count):
            at = start + i * stride + j
            values = load(tile, i * LANES)
            store(target, at, load(target, at) + values if add else values)
    for j in range(whole, size):
        for i in range(count):
            at = start + i * stride + j
            value = panel[j * width + column + i]
            target[at] = target[at] + value if add else value


@_jit()
def _steps(panel, slopes, size, bias, softplus):
    """delta -> step size in place, and its derivative."""
    one = splat(1.0)
    for j in range(0, size * LANES, LANES):
        x = load(panel, j) + bias
        if softplus:
            x, slope = softplus_and_slope(x)
            store(slopes, j, slope)
        else:
            store(slopes, j, one)
        store(panel, j, x)


@_jit()
def _lane_rows(source, start, states, count, tile, factor):
    """tile[n, i] = factor source[start + i states + n], the last of `count` channels repeated."""
    for n in range(states):
        for i in range(LANES):
            tile[n * LANES + i] = source[start + min(i, count - 1) * states + n] * factor


@_jit()
def forward(
    item,
    sizes,
    u,
    delta,
    A,
    B,
    C,
    D,
    delta_bias,
    orders,
    starts,
    lows,
    counts,
    softplus,
    rows,
    scratch,
    y,
    last_state,
    checkpoints,
):
    """One work item: one batch entry and group, a range of its blocks of 16 channels, a range of directions.

    Arrays are flat. y has one copy for every part that directions are split into.
    """
    control = flush_denormals()
    batch, directions, channels, groups, states, length = sizes
    b, g, part, first_block, last_block, first_direction, last_direction = item
    share = channels // groups
    width = (states + LANES - 1) // LANES * LANES
    chunks = (length + CHUNK - 1) // CHUNK
    u_panel, at = _carve(scratch, _first_line(scratch), rows * LANES)
    step_panel, at = _carve(scratch, at, rows * LANES)
    y_panel, at = _carve(scratch, at, rows * LANES)
    B_panel, at = _carve(scratch, at, rows * width)
    C_panel, at = _carve(scratch, at, rows * width)
    # What one chunk needs, in visiting order: rows that lie a power of two apart would push each other out of the L1 cache.
    steps, at = _carve(scratch, at, CHUNK * LANES)
    drives, at = _carve(scratch, at, CHUNK * LANES)
    ys, at = _carve(scratch, at, CHUNK * LANES)
    Bs, at = _carve(scratch, at, CHUNK * width)
    Cs, at = _carve(scratch, at, CHUNK * width)
    tile, at = _carve(scratch, at, TILE)
    rate, at = _carve(scratch, at, states * LANES)
    lane, at = _carve(scratch, at, 2 * LANES)
    state, at = _carve(scratch, at, (last_block - first_block) * states * LANES)
    for k in range(first_direction, last_direction):
        state[:] = 0
        for segment in range(counts[k]):
            low, first, last = lows[k, segment], starts[k, segment], starts[k, segment + 1]
            size = last - first
            steering = ((b * directions + k) * groups + g) * states
            for n in range(0, states, LANES):
                count = min(LANES, states - n)
                _fill(B, (steering + n) * length + low, length, count, size, B_panel, n, width)
                _fill(C, (steering + n) * length + low, length, count, size, C_panel, n, width)
            for block in range(first_block, last_block):
                channel = g * share + block * LANES
                count = min(LANES, share - block * LANES)
                here = (block - first_block) * states * LANES
                _fill(u, (b * channels + channel) * length + low, length, count, size, u_panel, 0, LANES)
                row = (b * directions + k) * channels + channel
                _fill(delta, row * length + low, length, count, size, step_panel, 0, LANES)
                _lane_rows(A, (k * channels + channel) * states, states, count, rate, LOG2_E)
                _lane_rows(D, k * channels + channel, 1, count, lane[:LANES], 1.0)
                _lane_rows(delta_bias, k * channels + channel, 1, count, lane[LANES:], 1.0)
                skip, bias = load(lane, 0), load(lane, LANES)
                for start in range(first, last, CHUNK):
                    stop = min(start + CHUNK, last)
                    for t in range(stop - start):
                        r = orders[k, start + t] - low
                        step = load(step_panel, r * LANES) + bias
                        if softplus:
                            step = softplus_and_slope(step)[0]
                        u_t = load(u_panel, r * LANES)
                        store(steps, t * LANES, step)
                        store(drives, t * LANES, step * u_t)
                        store(ys, t * LANES, skip * u_t)
                        for n in range(0, width, LANES):
                            store(Bs, t * width + n, load(B_panel, r * width + n))
                            store(Cs, t * width + n, load(C_panel, r * width + n))
                    saved = ((b * directions + k) * chunks + start // CHUNK) * states * channels + channel
                    for n in range(states):
                        for i in range(count):
                            checkpoints[saved + n * channels + i] = state[here + n * LANES + i]
                    fours = states - states % 4
                    for n in range(0, fours, 4):
                        at = here + n * LANES
                        rate0, rate1 = load(rate, n * LANES), load(rate, (n + 1) * LANES)
                        rate2, rate3 = load(rate, (n + 2) * LANES), load(rate, (n + 3) * LANES)
                        h0, h1 = load(state, at), load(state, at + LANES)
                        h2, h3 = load(state, at + 2 * LANES), load(state, at + 3 * LANES)
                        for t in range(stop - start):
                            step, drive = load(steps, t * LANES), load(drives, t * LANES)
                            steer = t * width + n
                            h0 = fma(exp2(step * rate0), h0, drive * broadcast(Bs, steer))
                            h1 = fma(exp2(step * rate1), h1, drive * broadcast(Bs, steer + 1))
                            h2 = fma(exp2(step * rate2), h2, drive * broadcast(Bs, steer + 2))
                            h3 = fma(exp2(step * rate3), h3, drive * broadcast(Bs, steer + 3))
                            total = fma(h0, broadcast(Cs, steer), load(ys, t * LANES))
                            total = fma(h1, broadcast(Cs, steer + 1), total)
                            total = fma(h2, broadcast(Cs, steer + 2), total)
                            store(ys, t * LANES, fma(h3, broadcast(Cs, steer + 3), total))
                        store(state, at, h0)
                        store(state, at + LANES, h1)
                        store(state, at + 2 * LANES, h2)
                        store(state, at + 3 * LANES, h3)
                    for n in range(fours, states):
                        rate0 = load(rate, n * LANES)
                        h0 = load(state, here + n * LANES)
                        for t in range(stop - start):
                            drive = load(drives, t * LANES) * broadcast(Bs, t * width + n)
                            h0 = fma(exp2(load(steps, t * LANES) * rate0), h0, drive)
                            store(ys, t * LANES, fma(h0, broadcast(Cs, t * width + n), load(ys, t * LANES)))
                        store(state, here + n * LANES, h0)
                    for t in range(stop - start):
                        store(y_panel, (orders[k, start + t] - low) * LANES, load(ys, t * LANES))
                target = ((part * batch + b) * channels + channel) * length + low
                _drain(y_panel, 0, LANES, count, size, y, target, length, tile, k > first_direction)
        for block in range(first_block, last_block):
            channel = g * share + block * LANES
            for i in range(min(LANES, share - block * LANES)):
                for n in range(states):
                    at = ((b * directions + k) * channels + channel + i) * states + n
                    last_state[at] = state[((block - first_block) * states + n) * LANES + i]
    restore_denormals(control)


@_jit()
def backward(
    item,
    sizes,
    grad_y,
    u,
    delta,
    A,
    B,
    C,
    D,
    delta_bias,
    orders,
    starts,
    lows,
    counts,
    softplus,
    checkpoints,
    rows,
    scratch,
    du,
    ddelta,
    dA,
    dB,
    dC,
    dD,
    ddelta_bias,
):
    """The same work item backwards: the states of a chunk are computed again from its checkpoint, then walked in reverse.

    Arrays are flat. du has one copy for every part of the directions, dB and dC one for every part of the
    blocks; dA, dD and ddelta_bias hold one sum a batch entry, in float64.
    """
    control = flush_denormals()
    batch, directions, channels, groups, states, length = sizes
    b, g, part, first_block, last_block, first_direction, last_direction, block_part = item
    share = channels // groups
    width = (states + LANES - 1) // LANES * LANES
    chunks = (length + CHUNK - 1) // CHUNK
    u_panel, at = _carve(scratch, _first_line(scratch), rows * LANES)
    step_panel, at = _carve(scratch, at, rows * LANES)
    slopes, at = _carve(scratch, at, rows * LANES)
    grad_panel, at = _carve(scratch, at, rows * LANES)
    B_panel, at = _carve(scratch, at, rows * width)
    C_panel, at = _carve(scratch, at, rows * width)
    dB_panel, at = _carve(scratch, at, rows * width)
    dC_panel, at = _carve(scratch, at, rows * width)
    tile, at = _carve(scratch, at, TILE)
    rate, at = _carve(scratch, at, states * LANES)
    lane, at = _carve(scratch, at, 2 * LANES)
    carried, at = _carve(scratch, at, (last_block - first_block) * states * LANES)
    visited, at = _carve(scratch, at, (CHUNK + 1) * states * LANES)
    decays, at = _carve(scratch, at, CHUNK * states * LANES)
    dA_sum, at = _carve(scratch, at, states * LANES)
    dB_terms, at = _carve(scratch, at, width * LANES)
    dB_terms[:] = 0
    dC_terms, at = _carve(scratch, at, width * LANES)
    dC_terms[:] = 0
    zero = splat(0.0)
    to_natural = splat(1 / LOG2_E)
    for k in range(first_direction, last_direction):
        carried[:] = 0
        for segment in range(counts[k] - 1, -1, -1):
            low, first, last = lows[k, segment], starts[k, segment], starts[k, segment + 1]
            size = last - first
            steering = ((b * directions + k) * groups + g) * states
            for n in range(0, states, LANES):
                count = min(LANES, states - n)
                _fill(B, (steering + n) * length + low, length, count, size, B_panel, n, width)
                _fill(C, (steering + n) * length + low, length, count, size, C_panel, n, width)
            dB_panel[: size * width] = 0
            dC_panel[: size * width] = 0
            for block in range(first_block, last_block):
                channel = g * share + block * LANES
                count = min(LANES, share - block * LANES)
                here = (block - first_block) * states * LANES
                entry = (b * channels + channel) * length + low
                _fill(u, entry, length, count, size, u_panel, 0, LANES)
                _fill(grad_y, entry, length, count, size, grad_panel, 0, LANES)
                row = (b * directions + k) * channels + channel
                _fill(delta, row * length + low, length, count, size, step_panel, 0, LANES)
                _lane_rows(A, (k * channels + channel) * states, states, count, rate, LOG2_E)
                _lane_rows(D, k * channels + channel, 1, count, lane[:LANES], 1.0)
                _lane_rows(delta_bias, k * channels + channel, 1, count, lane[LANES:], 1.0)
                skip = load(lane, 0)
                _steps(step_panel, slopes, size, load(lane, LANES), softplus)
                for j in range(size if count < LANES else 0):
                    for i in range(count, LANES):
                        grad_panel[j * LANES + i] = 0  # repeated channels must not count in dB and dC
                for chunk in range((last - 1) // CHUNK, first // CHUNK - 1, -1):
                    start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, last)
                    for t in range(start, stop):
                        r = orders[k, t] - low
                        for panel in (u_panel, step_panel, slopes, grad_panel):
                            prefetch(panel, r * LANES)
                        for panel in (B_panel, C_panel, dB_panel, dC_panel):
                            prefetch(panel, r * width)
                    saved = ((b * directions + k) * chunks + chunk) * states * channels + channel
                    for n in range(states):
                        for i in range(LANES):
                            visited[n * LANES + i] = checkpoints[saved + n * channels + min(i, count - 1)]
                    for t in range(start, stop):
                        r = orders[k, t] - low
                        step = load(step_panel, r * LANES)
                        stepped = step * load(u_panel, r * LANES)
                        at = (t - start) * states * LANES
                        for n in range(states):
                            decay = exp2(step * load(rate, n * LANES))
                            h = load(visited, at + n * LANES)
                            store(decays, at + n * LANES, decay)
                            h = fma(decay, h, stepped * broadcast(B_panel, r * width + n))
                            store(visited, at + (states + n) * LANES, h)
                    dA_sum[:] = 0
                    dD_sum = zero
                    bias_sum = zero
                    for t in range(stop - 1, start - 1, -1):
                        r = orders[k, t] - low
                        step = load(step_panel, r * LANES)
                        u_t = load(u_panel, r * LANES)
                        grad = load(grad_panel, r * LANES)
                        stepped = step * u_t
                        dstepped = zero
                        dstep = zero
                        at = (t - start) * states * LANES
                        for n in range(states):
                            dh = fma(grad, broadcast(C_panel, r * width + n), load(carried, here + n * LANES))
                            store(dC_terms, n * LANES, grad * load(visited, at + (states + n) * LANES))
                            store(dB_terms, n * LANES, dh * stepped)
                            dstepped = fma(dh, broadcast(B_panel, r * width + n), dstepped)
                            dh = dh * load(decays, at + n * LANES)
                            store(carried, here + n * LANES, dh)
                            dexponent = dh * load(visited, at + n * LANES)
                            dstep = fma(dexponent, load(rate, n * LANES), dstep)
                            store(dA_sum, n * LANES, fma(dexponent, step, load(dA_sum, n * LANES)))
                        for n in range(0, width, LANES):
                            to = r * width + n
                            store(dB_panel, to, load(dB_panel, to) + row_sums(dB_terms, n * LANES))
                            store(dC_panel, to, load(dC_panel, to) + row_sums(dC_terms, n * LANES))
                        ddelta_t = fma(dstepped, u_t, dstep * to_natural) * load(slopes, r * LANES)
                        store(grad_panel, r * LANES, fma(dstepped, step, skip * grad))  # now du
                        store(slopes, r * LANES, ddelta_t)  # now ddelta
                        dD_sum = fma(grad, u_t, dD_sum)
                        bias_sum = bias_sum + ddelta_t
                    store(lane, 0, dD_sum)
                    store(lane, LANES, bias_sum)
                    for i in range(count):
                        dD[row + i] += lane[i]
                        ddelta_bias[row + i] += lane[LANES + i]
                        for n in range(states):
                            dA[(row + i) * states + n] += dA_sum[n * LANES + i]
                to = part * batch * channels * length + entry
                _drain(grad_panel, 0, LANES, count, size, du, to, length, tile, k > first_direction)
                _drain(slopes, 0, LANES, count, size, ddelta, row * length + low, length, tile, False)
            steering += block_part * batch * directions * groups * states
            for n in range(0, states, LANES):
                count = min(LANES, states - n)
                _drain(dB_panel, n, width, count, size, dB, (steering + n) * length + low, length, tile, False)
                _drain(dC_panel, n, width, count, size, dC, (steering + n) * length + low, length, tile, False)
    restore_denormals(control)
