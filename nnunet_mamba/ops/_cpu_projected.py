"""The CPU engine's kernels for scans whose delta, B and C are products with u: they are made where they are used.

With few channels, B and C hold many more numbers than u, and writing and reading them takes longer than the scan. These
kernels keep them for a chunk of steps only. A map's channels, or those of two batch entries, fill one vector.
"""

# mypy: disable-error-code="call-arg, var-annotated"
# Numba's intrinsics take fewer arguments in a kernel than where they are defined.

from nnunet_mamba.ops._cpu_backward import FLUSH, backward_chunk
from nnunet_mamba.ops._cpu_forward import forward_chunk
from nnunet_mamba.ops._cpu_panels import drain, fill, jit, lane_offsets, lane_parameters, round_up
from nnunet_mamba.ops._cpu_scratch import CHUNK, LANES
from nnunet_mamba.ops._simd import (
    LOG2_E,
    broadcast,
    flush_denormals,
    fma,
    lane_dots,
    load,
    restore_denormals,
    softplus_and_slope,
    splat,
    store,
)


@jit
def project(size, apart, lane_apart, states, us, bias, weights, steps, Bs, Cs):
    """`steps` = bias + delta's weights u, before softplus; Bs and Cs, the rows of each batch entry `apart`.

    Rows of `weights` belong to a channel of u: the weights for 16 lanes of delta, and for all states of B and of C.
    """
    step_rows, B_rows, C_rows = weights
    width, share = round_up(states, LANES), LANES // len(apart)
    zero = splat(0.0)
    for t in range(size):
        step = bias
        for d in range(share):
            step = fma(broadcast(us, t * LANES + d, lane_apart), load(step_rows, d * LANES), step)
        store(steps, t * LANES, step)
        for e in range(len(apart)):
            for n in range(0, width, LANES):
                B_t, C_t = zero, zero
                for d in range(share):
                    u_t = splat(us[t * LANES + e * share + d])
                    B_t = fma(u_t, load(B_rows, d * width + n), B_t)
                    C_t = fma(u_t, load(C_rows, d * width + n), C_t)
                store(Bs, apart[e] + t * width + n, B_t)
                store(Cs, apart[e] + t * width + n, C_t)


@jit
def project_back(size, apart, lane_apart, states, us, weights, delta_columns, ddeltas, dBs, dCs, dus, gradients):
    """Add to `dus` what the gradients of delta, B and C say, and to `gradients` those of the weights of `project`."""
    _, B_rows, C_rows = weights
    dstep_rows, dB_rows, dC_rows = gradients
    width, share = round_up(states, LANES), LANES // len(apart)
    for t in range(size):
        du = load(dus, t * LANES)
        for c in range(share):
            du = fma(broadcast(ddeltas, t * LANES + c, lane_apart), load(delta_columns, c * LANES), du)
        for n in range(0, width, LANES):
            du = du + lane_dots(dBs, dCs, t * width + n, apart, B_rows, C_rows, n, width)
        store(dus, t * LANES, du)
    for d in range(0, share, 4):
        row0, row1 = load(dstep_rows, d * LANES), load(dstep_rows, (d + 1) * LANES)
        row2, row3 = load(dstep_rows, (d + 2) * LANES), load(dstep_rows, (d + 3) * LANES)
        for t in range(size):
            ddelta, at = load(ddeltas, t * LANES), t * LANES + d
            row0 = fma(broadcast(us, at, lane_apart), ddelta, row0)
            row1 = fma(broadcast(us, at + 1, lane_apart), ddelta, row1)
            row2 = fma(broadcast(us, at + 2, lane_apart), ddelta, row2)
            row3 = fma(broadcast(us, at + 3, lane_apart), ddelta, row3)
        store(dstep_rows, d * LANES, row0)
        store(dstep_rows, (d + 1) * LANES, row1)
        store(dstep_rows, (d + 2) * LANES, row2)
        store(dstep_rows, (d + 3) * LANES, row3)
        for n in range(0, width, LANES):
            _add_products(size, apart, states, us, d, n, dBs, dB_rows)
            _add_products(size, apart, states, us, d, n, dCs, dC_rows)


@jit
def _add_products(size, apart, states, us, d, n, grads, rows):
    """Of the weights of four channels from d on for 16 states from n on: rows += u grads, over steps and entries."""
    width, share = round_up(states, LANES), LANES // len(apart)
    at = d * width + n
    row0, row1 = load(rows, at), load(rows, at + width)
    row2, row3 = load(rows, at + 2 * width), load(rows, at + 3 * width)
    for e in range(len(apart)):
        for t in range(size):
            grad, lane = load(grads, apart[e] + t * width + n), t * LANES + e * share + d
            row0 = fma(splat(us[lane]), grad, row0)
            row1 = fma(splat(us[lane + 1]), grad, row1)
            row2 = fma(splat(us[lane + 2]), grad, row2)
            row3 = fma(splat(us[lane + 3]), grad, row3)
    store(rows, at, row0)
    store(rows, at + width, row1)
    store(rows, at + 2 * width, row2)
    store(rows, at + 3 * width, row3)


@jit
def projected_forward(item, apart, lane_apart, scratch, sizes, inputs, segments, softplus, outputs):
    """One WorkItem. Arrays are flat. `inputs` are u, the rows of `project` per direction, A, D, delta_bias and steps.

    `apart` and `lane_apart` tell where the rows of B and C, and the lanes of u, of each batch entry of the item start.
    `segments` come from `cut`, `outputs` are y, last states and checkpoints. y has a copy for each part that the
    directions are split into.
    """
    u, step_rows, B_rows, C_rows, A, D, delta_bias, step_of = inputs
    starts, lows, counts = segments
    y, last_state, checkpoints = outputs
    control = flush_denormals()
    batch, directions, channels, _, states, length = sizes
    b, entries = item.entry, len(apart)
    width = round_up(states, LANES)
    chunks = (length + CHUNK - 1) // CHUNK
    state, rate = scratch.state, scratch.rate
    in_map = lane_offsets(channels, entries, length, channels * length)
    for k in range(item.first_direction, item.last_direction):
        weights = step_rows[k * LANES * LANES :], B_rows[k * LANES * width :], C_rows[k * LANES * width :]
        skip, bias = lane_parameters(A, D, delta_bias, k * channels, states, channels, len(apart), scratch)
        state[:] = 0
        for s in range(counts[k]):
            low, first, last = lows[k, s], starts[k, s], starts[k, s + 1]
            segment = step_of, k * length + low, first, last - first
            fill(u, b * channels * length + low, in_map, segment, scratch.u_panel, 0, LANES)
            for start in range(first, last, CHUNK):
                size, near = min(start + CHUNK, last) - start, start - first
                steps, Bs, Cs = scratch.step_panel, scratch.B_panel, scratch.C_panel
                drives, ys = scratch.u_panel[near * LANES :], scratch.y_panel[near * LANES :]
                project(size, apart, lane_apart, states, drives, bias, weights, steps, Bs, Cs)
                for t in range(0, size * LANES, LANES):
                    step = load(steps, t)
                    if softplus:
                        step = softplus_and_slope(step)[0]
                    u_t = load(drives, t)
                    store(steps, t, step)
                    store(drives, t, step * u_t)
                    store(ys, t, skip * u_t)
                saved = ((item.first_vector * directions + k) * chunks + start // CHUNK) * states * LANES
                for n in range(0, states * LANES if len(checkpoints) else 0, LANES):
                    store(checkpoints, saved + n, load(state, n))
                forward_chunk(size, apart, states, steps, drives, ys, Bs, Cs, rate, state)
            target = (item.part * batch + b) * channels * length + low
            drain(scratch.y_panel, 0, LANES, segment, y, target, in_map, k > item.first_direction)
        for e in range(entries):
            for i in range(channels):
                at = (((b + e) * directions + k) * channels + i) * states
                for n in range(states):
                    last_state[at + n] = state[n * LANES + e * (LANES // entries) + i]
    restore_denormals(control)


@jit
def projected_backward(
    item, apart, lane_apart, scratch, sizes, inputs, delta_columns, segments, softplus, grad_y, checkpoints, gradients
):
    """The gradients of a WorkItem of `projected_forward`. A chunk is computed again, then walked in reverse.

    du has a copy for each part of the directions. The others are float64 sums for each batch entry; entries that share
    a vector share the first one's. `delta_columns` is `step_rows` transposed.
    """
    u, step_rows, B_rows, C_rows, A, D, delta_bias, step_of = inputs
    starts, lows, counts = segments
    du, dstep_rows, dB_rows, dC_rows, dA, dD, ddelta_bias = gradients
    control = flush_denormals()
    batch, directions, channels, _, states, length = sizes
    b, share = item.entry, LANES // len(apart)
    width = round_up(states, LANES)
    chunks = (length + CHUNK - 1) // CHUNK
    in_map = lane_offsets(channels, len(apart), length, channels * length)
    sums = scratch.dstep_rows, scratch.dB_rows, scratch.dC_rows
    scratch.rate[:] = 0
    scratch.visited[:] = 0
    scratch.decays[:] = 0
    scratch.kept[:] = 0
    scratch.dB_near[:] = 0  # whose columns of no state are multiplied by weights of zero
    scratch.dC_near[:] = 0
    zero, to_natural = splat(0.0), splat(1 / LOG2_E)
    for k in range(item.first_direction, item.last_direction):
        weights = step_rows[k * LANES * LANES :], B_rows[k * LANES * width :], C_rows[k * LANES * width :]
        skip, bias = lane_parameters(A, D, delta_bias, k * channels, states, channels, len(apart), scratch)
        scratch.carried[:] = 0
        scratch.dA_sum[:] = 0
        scratch.dstep_rows[:] = 0
        scratch.dB_rows[:] = 0
        scratch.dC_rows[:] = 0
        dD_sum, bias_sum = zero, zero
        for s in range(counts[k] - 1, -1, -1):
            low, first, last = lows[k, s], starts[k, s], starts[k, s + 1]
            segment = step_of, k * length + low, first, last - first
            fill(u, b * channels * length + low, in_map, segment, scratch.u_panel, 0, LANES)
            fill(grad_y, b * channels * length + low, in_map, segment, scratch.grad_panel, 0, LANES)
            for i in range(LANES):
                if i % share >= channels:
                    for j in range(last - first):
                        scratch.grad_panel[j * LANES + i] = 0  # repeated channels must not count
            for chunk in range((last - 1) // CHUNK, first // CHUNK - 1, -1):
                start = chunk * CHUNK
                size, near = min(start + CHUNK, last) - start, start - first
                steps, slopes, Bs, Cs = scratch.step_panel, scratch.slope_panel, scratch.B_panel, scratch.C_panel
                us, grads = scratch.u_panel[near * LANES :], scratch.grad_panel[near * LANES :]
                project(size, apart, lane_apart, states, us, bias, weights, steps, Bs, Cs)
                for t in range(0, size * LANES, LANES):
                    step, slope = load(steps, t), splat(1.0)
                    if softplus:
                        step, slope = softplus_and_slope(step)
                    store(steps, t, step)
                    store(slopes, t, slope)
                    store(scratch.drives, t, step * load(us, t))
                    store(scratch.dsteps, t, zero)
                    store(scratch.ddrives, t, zero)
                scratch.dB_panel[:] = 0
                scratch.dC_panel[:] = 0
                saved = ((item.first_vector * directions + k) * chunks + chunk) * states * LANES
                for n in range(0, states * LANES, LANES):
                    store(scratch.kept, n, load(checkpoints, saved + n))
                backward_chunk(
                    size, apart, states, steps, grads, Bs, Cs, scratch.rate, scratch.carried, scratch,
                    scratch.dB_panel, scratch.dC_panel,
                )  # fmt: skip
                for t in range(0, size * LANES, LANES):
                    u_t, grad, ddrive = load(us, t), load(grads, t), load(scratch.ddrives, t)
                    ddelta = fma(ddrive, u_t, load(scratch.dsteps, t) * to_natural) * load(slopes, t)
                    store(grads, t, fma(ddrive, load(steps, t), skip * grad))  # now du
                    store(slopes, t, ddelta)  # now ddelta
                    dD_sum = fma(grad, u_t, dD_sum)
                    bias_sum = bias_sum + ddelta
                project_back(
                    size, apart, lane_apart, states, us, weights, delta_columns[k * LANES * LANES :], slopes,
                    scratch.dB_panel, scratch.dC_panel, grads, sums,
                )  # fmt: skip
                if chunk % FLUSH == 0 or chunk == 0:  # before the rounding of float32 adds up
                    at = b * directions + k
                    store(scratch.skip, 0, dD_sum)
                    store(scratch.bias, 0, bias_sum)
                    for lane in range(LANES):
                        i = lane % share
                        if i < channels:
                            dD[at * channels + i] += scratch.skip[lane]
                            ddelta_bias[at * channels + i] += scratch.bias[lane]
                            for n in range(states):
                                dA[(at * channels + i) * states + n] += scratch.dA_sum[n * LANES + lane]
                    for i in range(share * LANES):
                        dstep_rows[at * LANES * LANES + i] += scratch.dstep_rows[i]
                        scratch.dstep_rows[i] = 0
                    for i in range(share * width):
                        dB_rows[at * LANES * width + i] += scratch.dB_rows[i]
                        dC_rows[at * LANES * width + i] += scratch.dC_rows[i]
                        scratch.dB_rows[i] = 0
                        scratch.dC_rows[i] = 0
                    scratch.dA_sum[:] = 0
                    dD_sum, bias_sum = zero, zero
            to = (item.part * batch + b) * channels * length + low
            drain(scratch.grad_panel, 0, LANES, segment, du, to, in_map, k > item.first_direction)
    restore_denormals(control)
