"""The CPU engine's forward kernel: 16 channels, or 8 of two batch entries, in a vector; four states at a time."""

# mypy: disable-error-code="call-arg, var-annotated"
# Numba's intrinsics take fewer arguments in a kernel than where they are defined.

from nnunet_mamba.ops._cpu_panels import drain, fill, jit, lane_offsets, lane_parameters, round_up
from nnunet_mamba.ops._cpu_scratch import CHUNK, LANES
from nnunet_mamba.ops._simd import (
    broadcast,
    exp2,
    flush_denormals,
    fma,
    load,
    prefetch,
    restore_denormals,
    softplus_and_slope,
    store,
)


@jit
def forward_chunk(size, apart, states, steps, drives, ys, Bs, Cs, rate, state):
    """Walk `size` steps: ys += C h. Rows of `steps` and `drives` hold delta and delta u, rows of Bs and Cs the states.

    `state` is what the last step left, and then what this walk leaves. Rates are to base 2.
    """
    width = round_up(states, LANES)
    fours = states - states % 4
    for n in range(0, fours, 4):
        at = n * LANES
        rate0, rate1 = load(rate, at), load(rate, at + LANES)
        rate2, rate3 = load(rate, at + 2 * LANES), load(rate, at + 3 * LANES)
        h0, h1 = load(state, at), load(state, at + LANES)
        h2, h3 = load(state, at + 2 * LANES), load(state, at + 3 * LANES)
        for t in range(size):
            step, drive = load(steps, t * LANES), load(drives, t * LANES)
            steer = t * width + n
            h0 = fma(exp2(step * rate0), h0, drive * broadcast(Bs, steer, apart))
            h1 = fma(exp2(step * rate1), h1, drive * broadcast(Bs, steer + 1, apart))
            h2 = fma(exp2(step * rate2), h2, drive * broadcast(Bs, steer + 2, apart))
            h3 = fma(exp2(step * rate3), h3, drive * broadcast(Bs, steer + 3, apart))
            total = fma(h0, broadcast(Cs, steer, apart), load(ys, t * LANES))
            total = fma(h1, broadcast(Cs, steer + 1, apart), total)
            total = fma(h2, broadcast(Cs, steer + 2, apart), total)
            store(ys, t * LANES, fma(h3, broadcast(Cs, steer + 3, apart), total))
        store(state, at, h0)
        store(state, at + LANES, h1)
        store(state, at + 2 * LANES, h2)
        store(state, at + 3 * LANES, h3)
    for n in range(fours, states):
        rate0 = load(rate, n * LANES)
        h0 = load(state, n * LANES)
        for t in range(size):
            drive = load(drives, t * LANES) * broadcast(Bs, t * width + n, apart)
            h0 = fma(exp2(load(steps, t * LANES) * rate0), h0, drive)
            store(ys, t * LANES, fma(h0, broadcast(Cs, t * width + n, apart), load(ys, t * LANES)))
        store(state, n * LANES, h0)


@jit
def forward(item, apart, scratch, sizes, inputs, segments, softplus, outputs):
    """One WorkItem.

    Arrays are flat. `apart` tells where the panels of B and C of each batch entry of the item start. `inputs` are
    ScanInputs, `segments` come from `cut`, `outputs` are y, last states and checkpoints. y has a copy for each part
    that the directions are split into.
    """
    u, delta, A, B, C, D, delta_bias, _, step_of = inputs
    starts, lows, counts = segments
    y, last_state, checkpoints = outputs
    control = flush_denormals()
    batch, directions, channels, groups, states, length = sizes
    b, g, entries = item.entry, item.group, len(apart)
    first_block, last_block, first_direction = item.first_block, item.last_block, item.first_direction
    share = channels // groups
    width = round_up(states, LANES)
    chunks = (length + CHUNK - 1) // CHUNK
    u_panel, step_panel, y_panel = scratch.u_panel, scratch.step_panel, scratch.y_panel
    B_panel, C_panel, rate, state = scratch.B_panel, scratch.C_panel, scratch.rate, scratch.state
    for k in range(first_direction, item.last_direction):
        state[:] = 0
        for s in range(counts[k]):
            low, first, last = lows[k, s], starts[k, s], starts[k, s + 1]
            segment = step_of, k * length + low, first, last - first
            for e in range(entries):
                steering = (((b + e) * directions + k) * groups + g) * states
                for n in range(0, states, LANES):
                    rows = lane_offsets(min(LANES, states - n), 1, length, 0)
                    fill(B, (steering + n) * length + low, rows, segment, B_panel, apart[e] + n, width)
                    fill(C, (steering + n) * length + low, rows, segment, C_panel, apart[e] + n, width)
            for block in range(first_block, last_block):
                channel = g * share + block * LANES
                count = min(LANES // entries, share - block * LANES)
                here = (block - first_block) * states * LANES
                in_map = lane_offsets(count, entries, length, channels * length)
                in_delta = lane_offsets(count, entries, length, directions * channels * length)
                fill(u, (b * channels + channel) * length + low, in_map, segment, u_panel, 0, LANES)
                row = (b * directions + k) * channels + channel
                fill(delta, row * length + low, in_delta, segment, step_panel, 0, LANES)
                next_channel, next_low = channel + LANES, low
                if block + 1 == last_block:
                    next_channel, next_low = g * share + first_block * LANES, lows[k, min(s + 1, counts[k] - 1)]
                next_u = (b * channels + next_channel) * length + next_low
                next_delta = ((b * directions + k) * channels + next_channel) * length + next_low
                next_y = ((item.part * batch + b) * channels + next_channel) * length + next_low
                skip, bias = lane_parameters(A, D, delta_bias, k * channels + channel, states, count, entries, scratch)
                for start in range(first, last, CHUNK):
                    stop = min(start + CHUNK, last)
                    near = start - first
                    steps, drives, ys = step_panel[near * LANES :], u_panel[near * LANES :], y_panel[near * LANES :]
                    Bs, Cs = B_panel[near * width :], C_panel[near * width :]
                    for t in range(stop - start):
                        # what the next block of channels will want, a cache line at a time
                        lane, line = t % LANES, near + t // LANES * LANES
                        prefetch(u, next_u + in_map[lane] + line)
                        prefetch(delta, next_delta + in_delta[lane] + line)
                        prefetch(y, next_y + in_map[lane] + line)
                        step = load(steps, t * LANES) + bias
                        if softplus:
                            step = softplus_and_slope(step)[0]
                        u_t = load(drives, t * LANES)
                        store(steps, t * LANES, step)
                        store(drives, t * LANES, step * u_t)
                        store(ys, t * LANES, skip * u_t)
                    vector = item.first_vector + block - first_block
                    saved = ((vector * directions + k) * chunks + start // CHUNK) * states * LANES
                    for n in range(0, states * LANES if len(checkpoints) else 0, LANES):
                        store(checkpoints, saved + n, load(state, here + n))
                    forward_chunk(stop - start, apart, states, steps, drives, ys, Bs, Cs, rate, state[here:])
                target = ((item.part * batch + b) * channels + channel) * length + low
                drain(y_panel, 0, LANES, segment, y, target, in_map, k > first_direction)
        for block in range(first_block, last_block):
            channel = g * share + block * LANES
            for e in range(entries):
                for i in range(min(LANES // entries, share - block * LANES)):
                    lane = e * (LANES // entries) + i
                    at = (((b + e) * directions + k) * channels + channel + i) * states
                    for n in range(states):
                        last_state[at + n] = state[((block - first_block) * states + n) * LANES + lane]
    restore_denormals(control)
