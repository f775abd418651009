"""The scan's kernels, compiled by Numba: a work item walks the orders with 16 channels in the lanes of a vector.

Maps are read and written in tiles of 16 channels and positions. A segment of an order whose positions form one contiguous range
is transposed into panels, one row of 16 channels a step, in the order of the walk: each position of a tile goes to the row of its
step, a whole cache line. Row-major walks are cut into short segments that stay in the L2 cache; a walk that jumps over the whole
map, such as column-major, is one segment, and its panels hold 16 channels of the map, no more. Importing this module loads Numba,
and compiles nothing.
"""

import numba
import numpy as np

from nnunet_mamba.ops._simd import (
    LANES,
    LOG2_E,
    add_fours,
    broadcast,
    collect,
    exp2,
    flush_denormals,
    fma,
    load,
    merge_far,
    merge_near,
    prefetch,
    restore_denormals,
    softplus_and_slope,
    splat,
    spread,
    store,
)

CHUNK = 64  # steps between two checkpoints: four states of a chunk, which the backward computes again, stay near the L1 cache
SEGMENT = 4 * CHUNK
FLUSH = 4  # chunks
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
    width = _up(states, LANES)
    panels = rows * (4 * LANES + 4 * width) + 6 * width
    per_state = width * (LANES * (blocks + 3) + 2 * CHUNK)
    near = 3 * CHUNK * LANES
    recomputed = 4 * LANES * (2 * CHUNK + 1)
    return panels + per_state + near + recomputed + TILE + 3 * LANES


@_jit()
def _up(size, multiple):
    return (size + multiple - 1) // multiple * multiple


@_jit()
def cut(orders):
    """Segments of every direction: (K, S + 1) first steps, (K, S) lowest positions, (K,) numbers of segments; (K, L) places.

    A place is the step at which a position is visited.
    """
    directions, length = orders.shape
    most = (length + SEGMENT - 1) // SEGMENT
    starts = np.zeros((directions, most + 1), np.int64)
    lows = np.zeros((directions, most), np.int64)
    counts = np.zeros(directions, np.int64)
    places = np.empty((directions, length), np.int64)
    for k in range(directions):
        step = 0
        while step < length:
            start, low, high = step, length, -1
            while step == start or (step < length and high - low + 1 != step - start):
                stop = min(step + SEGMENT, length)
                for t in range(step, stop):
                    low = min(low, orders[k, t])
                    high = max(high, orders[k, t])
                    places[k, orders[k, t]] = t
                step = stop
            lows[k, counts[k]] = low
            counts[k] += 1
            starts[k, counts[k]] = step
    return starts, lows, counts, places


@_jit()
def _first_line(scratch):
    """Where a cache line starts: vectors that straddle two cost twice."""
    return -(scratch.ctypes.data // 4) % LANES


@_jit()
def _carve(scratch, start, size):
    """The next `size` of the scratch memory, whole cache lines, and where the one after it starts."""
    stop = start + _up(size, LANES)
    return scratch[start : start + size], stop


@_jit()
def _fill(source, start, stride, count, size, places, place, first, panel, column, width):
    """panel[places[place + j] - first, column + i] = source[start + i stride + j] for j < size and 16 rows i, the last of `count`
    repeated.
    """
    whole = size - size % LANES
    for j in range(0, whole, LANES):
        spread(source, start + j, stride, count, places, place + j, first, panel, column, width)
    for j in range(whole, size):
        row = (places[place + j] - first) * width + column
        for i in range(LANES):
            panel[row + i] = source[start + min(i, count - 1) * stride + j]


@_jit()
def _drain(panel, column, width, places, place, first, count, size, target, start, stride, tile, add):
    """target[start + i stride + j] = panel[places[place + j] - first, column + i], or += with `add`, for j < size and i < count."""
    whole = size - size % LANES
    for j in range(0, whole, LANES):
        if count == LANES and not add:
            collect(panel, column, width, places, place + j, first, target, start + j, stride)
            continue
        collect(panel, column, width, places, place + j, first, tile, 0, LANES)
        for i in range(count):
            at = start + i * stride + j
            values = load(tile, i * LANES)
            store(target, at, load(target, at) + values if add else values)
    for j in range(whole, size):
        row = (places[place + j] - first) * width + column
        for i in range(count):
            at = start + i * stride + j
            value = panel[row + i]
            target[at] = target[at] + value if add else value


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
    starts,
    lows,
    counts,
    places,
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
    width = _up(states, LANES)
    chunks = (length + CHUNK - 1) // CHUNK
    u_panel, at = _carve(scratch, _first_line(scratch), rows * LANES)
    step_panel, at = _carve(scratch, at, rows * LANES)
    y_panel, at = _carve(scratch, at, rows * LANES)
    B_panel, at = _carve(scratch, at, rows * width)
    C_panel, at = _carve(scratch, at, rows * width)
    tile, at = _carve(scratch, at, TILE)
    rate, at = _carve(scratch, at, states * LANES)
    lane, at = _carve(scratch, at, 2 * LANES)
    state, at = _carve(scratch, at, (last_block - first_block) * states * LANES)
    for k in range(first_direction, last_direction):
        state[:] = 0
        for segment in range(counts[k]):
            low, first, last = lows[k, segment], starts[k, segment], starts[k, segment + 1]
            size, place = last - first, k * length + low
            steering = ((b * directions + k) * groups + g) * states
            for n in range(0, states, LANES):
                count = min(LANES, states - n)
                _fill(B, (steering + n) * length + low, length, count, size, places, place, first, B_panel, n, width)
                _fill(C, (steering + n) * length + low, length, count, size, places, place, first, C_panel, n, width)
            for block in range(first_block, last_block):
                channel = g * share + block * LANES
                count = min(LANES, share - block * LANES)
                here = (block - first_block) * states * LANES
                _fill(
                    u,
                    (b * channels + channel) * length + low,
                    length,
                    count,
                    size,
                    places,
                    place,
                    first,
                    u_panel,
                    0,
                    LANES,
                )
                row = (b * directions + k) * channels + channel
                _fill(delta, row * length + low, length, count, size, places, place, first, step_panel, 0, LANES)
                next_channel, next_low = channel + LANES, low
                if block + 1 == last_block:
                    next_channel, next_low = g * share + first_block * LANES, lows[k, min(segment + 1, counts[k] - 1)]
                next_u = (b * channels + next_channel) * length + next_low
                next_delta = ((b * directions + k) * channels + next_channel) * length + next_low
                next_y = ((part * batch + b) * channels + next_channel) * length + next_low
                _lane_rows(A, (k * channels + channel) * states, states, count, rate, LOG2_E)
                _lane_rows(D, k * channels + channel, 1, count, lane[:LANES], 1.0)
                _lane_rows(delta_bias, k * channels + channel, 1, count, lane[LANES:], 1.0)
                skip, bias = load(lane, 0), load(lane, LANES)
                for start in range(first, last, CHUNK):
                    stop = min(start + CHUNK, last)
                    near = start - first
                    steps, drives, ys = step_panel[near * LANES :], u_panel[near * LANES :], y_panel[near * LANES :]
                    Bs, Cs = B_panel[near * width :], C_panel[near * width :]
                    for t in range(stop - start):
                        step = load(steps, t * LANES) + bias
                        if softplus:
                            step = softplus_and_slope(step)[0]
                        u_t = load(drives, t * LANES)
                        store(steps, t * LANES, step)
                        store(drives, t * LANES, step * u_t)
                        store(ys, t * LANES, skip * u_t)
                    saved = ((b * directions + k) * chunks + start // CHUNK) * states * channels + channel
                    for n in range(states if len(checkpoints) else 0):
                        if count == LANES:
                            store(checkpoints, saved + n * channels, load(state, here + n * LANES))
                        else:
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
                            # a cache line at a time, what the next block of channels will want
                            line = near + (t % LANES) * length + t // LANES * LANES
                            if n == 0:
                                prefetch(u, next_u + line)
                            elif n == 4:
                                prefetch(delta, next_delta + line)
                            elif n == 8:
                                prefetch(y, next_y + line)
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
                target = ((part * batch + b) * channels + channel) * length + low
                _drain(
                    y_panel, 0, LANES, places, place, first, count, size, y, target, length, tile, k > first_direction
                )
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
    starts,
    lows,
    counts,
    places,
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
    width = _up(states, LANES)
    padded = _up(states, 4)
    chunks = (length + CHUNK - 1) // CHUNK
    u_panel, at = _carve(scratch, _first_line(scratch), rows * LANES)
    step_panel, at = _carve(scratch, at, rows * LANES)
    slope_panel, at = _carve(scratch, at, rows * LANES)
    grad_panel, at = _carve(scratch, at, rows * LANES)
    B_panel, at = _carve(scratch, at, rows * width)
    C_panel, at = _carve(scratch, at, rows * width)
    dB_panel, at = _carve(scratch, at, (rows + 3) * width)  # sums are added to four rows at a time
    dC_panel, at = _carve(scratch, at, (rows + 3) * width)
    tile, at = _carve(scratch, at, TILE)
    rate, at = _carve(scratch, at, padded * LANES)
    rate[:] = 0
    lane, at = _carve(scratch, at, 2 * LANES)
    dA_sum, at = _carve(scratch, at, padded * LANES)
    carried, at = _carve(scratch, at, (last_block - first_block) * padded * LANES)
    drives, at = _carve(scratch, at, CHUNK * LANES)
    dsteps, at = _carve(scratch, at, CHUNK * LANES)
    ddrives, at = _carve(scratch, at, CHUNK * LANES)
    # Four states of a chunk's steps at a time: they stay in the L1 cache until their share of dB and dC is summed.
    visited, at = _carve(scratch, at, 4 * (CHUNK + 1) * LANES)
    decays, at = _carve(scratch, at, 4 * CHUNK * LANES)
    kept, at = _carve(scratch, at, padded * LANES)
    dB_near, at = _carve(scratch, at, CHUNK * width)
    dC_near, at = _carve(scratch, at, CHUNK * width)
    visited[:] = 0
    decays[:] = 0
    kept[:] = 0
    zero, one = splat(0.0), splat(1.0)
    to_natural = splat(1 / LOG2_E)
    for k in range(first_direction, last_direction):
        carried[:] = 0
        for segment in range(counts[k] - 1, -1, -1):
            low, first, last = lows[k, segment], starts[k, segment], starts[k, segment + 1]
            size, place = last - first, k * length + low
            steering = ((b * directions + k) * groups + g) * states
            for n in range(0, states, LANES):
                count = min(LANES, states - n)
                _fill(B, (steering + n) * length + low, length, count, size, places, place, first, B_panel, n, width)
                _fill(C, (steering + n) * length + low, length, count, size, places, place, first, C_panel, n, width)
            for j in range(size):
                for n in range(states, padded):
                    C_panel[j * width + n] = 0  # states that pad a four get no gradient, and pass none on
            dB_panel[: size * width] = 0
            dC_panel[: size * width] = 0
            for block in range(first_block, last_block):
                channel = g * share + block * LANES
                count = min(LANES, share - block * LANES)
                here = (block - first_block) * padded * LANES
                entry = (b * channels + channel) * length + low
                _fill(u, entry, length, count, size, places, place, first, u_panel, 0, LANES)
                _fill(grad_y, entry, length, count, size, places, place, first, grad_panel, 0, LANES)
                row = (b * directions + k) * channels + channel
                _fill(delta, row * length + low, length, count, size, places, place, first, step_panel, 0, LANES)
                _lane_rows(A, (k * channels + channel) * states, states, count, rate, LOG2_E)
                _lane_rows(D, k * channels + channel, 1, count, lane[:LANES], 1.0)
                _lane_rows(delta_bias, k * channels + channel, 1, count, lane[LANES:], 1.0)
                skip, bias = load(lane, 0), load(lane, LANES)
                for j in range(size if count < LANES else 0):
                    for i in range(count, LANES):
                        grad_panel[j * LANES + i] = 0  # repeated channels must not count in dB and dC
                dA_sum[:] = 0
                dD_sum, bias_sum = zero, zero
                for chunk in range((last - 1) // CHUNK, first // CHUNK - 1, -1):
                    start, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, last)
                    near = start - first
                    steps, us, grads = step_panel[near * LANES :], u_panel[near * LANES :], grad_panel[near * LANES :]
                    slopes = slope_panel[near * LANES :]
                    Bs, Cs = B_panel[near * width :], C_panel[near * width :]
                    for t in range(stop - start):
                        step, slope = load(steps, t * LANES) + bias, one
                        if softplus:
                            step, slope = softplus_and_slope(step)
                        store(steps, t * LANES, step)
                        store(slopes, t * LANES, slope)
                        store(drives, t * LANES, step * load(us, t * LANES))
                        store(dsteps, t * LANES, zero)
                        store(ddrives, t * LANES, zero)
                    saved = ((b * directions + k) * chunks + chunk) * states * channels + channel
                    for n in range(states):
                        if count == LANES:
                            store(kept, n * LANES, load(checkpoints, saved + n * channels))
                        else:
                            for i in range(LANES):
                                kept[n * LANES + i] = checkpoints[saved + n * channels + min(i, count - 1)]
                    for n in range(0, padded, 4):
                        rate0, rate1 = load(rate, n * LANES), load(rate, (n + 1) * LANES)
                        rate2, rate3 = load(rate, (n + 2) * LANES), load(rate, (n + 3) * LANES)
                        h0, h1 = load(kept, n * LANES), load(kept, (n + 1) * LANES)
                        h2, h3 = load(kept, (n + 2) * LANES), load(kept, (n + 3) * LANES)
                        store(visited, 0, h0)
                        store(visited, LANES, h1)
                        store(visited, 2 * LANES, h2)
                        store(visited, 3 * LANES, h3)
                        for t in range(stop - start):
                            step, drive = load(steps, t * LANES), load(drives, t * LANES)
                            steer = t * width + n
                            after, now = (t + 1) * 4 * LANES, t * 4 * LANES
                            decay0, decay1 = exp2(step * rate0), exp2(step * rate1)
                            decay2, decay3 = exp2(step * rate2), exp2(step * rate3)
                            h0 = fma(decay0, h0, drive * broadcast(Bs, steer))
                            h1 = fma(decay1, h1, drive * broadcast(Bs, steer + 1))
                            h2 = fma(decay2, h2, drive * broadcast(Bs, steer + 2))
                            h3 = fma(decay3, h3, drive * broadcast(Bs, steer + 3))
                            store(decays, now, decay0)
                            store(decays, now + LANES, decay1)
                            store(decays, now + 2 * LANES, decay2)
                            store(decays, now + 3 * LANES, decay3)
                            store(visited, after, h0)
                            store(visited, after + LANES, h1)
                            store(visited, after + 2 * LANES, h2)
                            store(visited, after + 3 * LANES, h3)
                        at = here + n * LANES
                        dh0, dh1 = load(carried, at), load(carried, at + LANES)
                        dh2, dh3 = load(carried, at + 2 * LANES), load(carried, at + 3 * LANES)
                        dA0, dA1 = load(dA_sum, n * LANES), load(dA_sum, (n + 1) * LANES)
                        dA2, dA3 = load(dA_sum, (n + 2) * LANES), load(dA_sum, (n + 3) * LANES)
                        for t in range(stop - start - 1, -1, -1):
                            step, drive, grad = load(steps, t * LANES), load(drives, t * LANES), load(grads, t * LANES)
                            steer = t * width + n
                            before = now = t * 4 * LANES
                            after = before + 4 * LANES
                            dh0 = fma(grad, broadcast(Cs, steer), dh0)
                            dh1 = fma(grad, broadcast(Cs, steer + 1), dh1)
                            dh2 = fma(grad, broadcast(Cs, steer + 2), dh2)
                            dh3 = fma(grad, broadcast(Cs, steer + 3), dh3)
                            dC0, dC1 = grad * load(visited, after), grad * load(visited, after + LANES)
                            dC2, dC3 = grad * load(visited, after + 2 * LANES), grad * load(visited, after + 3 * LANES)
                            store(visited, after, merge_near(dC0, dC1, dC2, dC3))  # these states are not needed again
                            ddrive = fma(dh0, broadcast(Bs, steer), load(ddrives, t * LANES))
                            ddrive = fma(dh1, broadcast(Bs, steer + 1), ddrive)
                            ddrive = fma(dh2, broadcast(Bs, steer + 2), ddrive)
                            store(ddrives, t * LANES, fma(dh3, broadcast(Bs, steer + 3), ddrive))
                            decay0, decay1 = load(decays, now), load(decays, now + LANES)
                            decay2, decay3 = load(decays, now + 2 * LANES), load(decays, now + 3 * LANES)
                            store(
                                decays, now, merge_near(dh0 * drive, dh1 * drive, dh2 * drive, dh3 * drive)
                            )  # nor these decays
                            dh0, dh1, dh2, dh3 = dh0 * decay0, dh1 * decay1, dh2 * decay2, dh3 * decay3
                            dexponent0 = dh0 * load(visited, before)
                            dexponent1 = dh1 * load(visited, before + LANES)
                            dexponent2 = dh2 * load(visited, before + 2 * LANES)
                            dexponent3 = dh3 * load(visited, before + 3 * LANES)
                            dstep = fma(dexponent0, rate0, load(dsteps, t * LANES))
                            dstep = fma(dexponent1, rate1, dstep)
                            dstep = fma(dexponent2, rate2, dstep)
                            store(dsteps, t * LANES, fma(dexponent3, rate3, dstep))
                            dA0, dA1 = fma(dexponent0, step, dA0), fma(dexponent1, step, dA1)
                            dA2, dA3 = fma(dexponent2, step, dA2), fma(dexponent3, step, dA3)
                        store(carried, at, dh0)
                        store(carried, at + LANES, dh1)
                        store(carried, at + 2 * LANES, dh2)
                        store(carried, at + 3 * LANES, dh3)
                        store(dA_sum, n * LANES, dA0)
                        store(dA_sum, (n + 1) * LANES, dA1)
                        store(dA_sum, (n + 2) * LANES, dA2)
                        store(dA_sum, (n + 3) * LANES, dA3)
                        for t in range(0, stop - start, 4):
                            store(dB_near, t * width + 4 * n, merge_far(decays, t * 4 * LANES, 4 * LANES))
                            store(dC_near, t * width + 4 * n, merge_far(visited, (t + 1) * 4 * LANES, 4 * LANES))
                    for t in range(0, stop - start, 4):
                        for n in range(0, width, LANES):
                            add_fours(dB_near, t * width + 4 * n, dB_panel, (near + t) * width + n, width)
                            add_fours(dC_near, t * width + 4 * n, dC_panel, (near + t) * width + n, width)
                    for t in range(stop - start):
                        u_t, grad = load(us, t * LANES), load(grads, t * LANES)
                        ddrive = load(ddrives, t * LANES)
                        ddelta_t = fma(ddrive, u_t, load(dsteps, t * LANES) * to_natural) * load(slopes, t * LANES)
                        store(grads, t * LANES, fma(ddrive, load(steps, t * LANES), skip * grad))  # now du
                        store(slopes, t * LANES, ddelta_t)  # now ddelta
                        dD_sum = fma(grad, u_t, dD_sum)
                        bias_sum = bias_sum + ddelta_t
                    if chunk % FLUSH == 0 or chunk == first // CHUNK:  # before the rounding of float32 adds up
                        store(lane, 0, dD_sum)
                        store(lane, LANES, bias_sum)
                        for i in range(count):
                            dD[row + i] += lane[i]
                            ddelta_bias[row + i] += lane[LANES + i]
                            for n in range(states):
                                dA[(row + i) * states + n] += dA_sum[n * LANES + i]
                        dA_sum[:] = 0
                        dD_sum, bias_sum = zero, zero
                to = part * batch * channels * length + entry
                _drain(
                    grad_panel, 0, LANES, places, place, first, count, size, du, to, length, tile, k > first_direction
                )
                to = row * length + low
                _drain(slope_panel, 0, LANES, places, place, first, count, size, ddelta, to, length, tile, False)
            steering += block_part * batch * directions * groups * states
            for n in range(0, states, LANES):
                count, to = min(LANES, states - n), (steering + n) * length + low
                _drain(dB_panel, n, width, places, place, first, count, size, dB, to, length, tile, False)
                _drain(dC_panel, n, width, places, place, first, count, size, dC, to, length, tile, False)
    restore_denormals(control)
