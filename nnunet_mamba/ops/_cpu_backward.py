"""The CPU engine's backward kernel. Vectors hold what they hold in the forward; four states at a time."""

# mypy: disable-error-code="call-arg, var-annotated"
# Numba's intrinsics take fewer arguments in a kernel than where they are defined.

from nnunet_mamba.ops._cpu_panels import drain, fill, jit, lane_offsets, lane_parameters, round_up
from nnunet_mamba.ops._cpu_scratch import CHUNK, LANES
from nnunet_mamba.ops._simd import (
    LOG2_E,
    add_fours,
    broadcast,
    exp2,
    flush_denormals,
    fma,
    load,
    merge_far,
    merge_near,
    restore_denormals,
    softplus_and_slope,
    splat,
    store,
)

FLUSH = 4  # chunks between additions of float32 sums to float64 ones


@jit
def backward_chunk(size, apart, states, steps, grads, Bs, Cs, rate, carried, scratch, dBs, dCs):
    """Walk `size` steps again from the states in `scratch.kept`, then in reverse.

    Adds to dBs, dCs and `scratch`'s dA_sum, dsteps (times log2 e) and ddrives. `carried` is the gradient of the state
    after the last step, and then of the state before the first.
    """
    entries = len(apart)
    width, padded = round_up(states, LANES), round_up(states, 4)
    drives, dsteps, ddrives, dA_sum = scratch.drives, scratch.dsteps, scratch.ddrives, scratch.dA_sum
    # Four states of the steps at a time: they stay in the L1 cache until their share of dB and dC is summed.
    visited, decays, kept = scratch.visited, scratch.decays, scratch.kept
    dB_near, dC_near = scratch.dB_near, scratch.dC_near
    for n in range(0, padded, 4):
        rate0, rate1 = load(rate, n * LANES), load(rate, (n + 1) * LANES)
        rate2, rate3 = load(rate, (n + 2) * LANES), load(rate, (n + 3) * LANES)
        h0, h1 = load(kept, n * LANES), load(kept, (n + 1) * LANES)
        h2, h3 = load(kept, (n + 2) * LANES), load(kept, (n + 3) * LANES)
        store(visited, 0, h0)
        store(visited, LANES, h1)
        store(visited, 2 * LANES, h2)
        store(visited, 3 * LANES, h3)
        for t in range(size):
            step, drive = load(steps, t * LANES), load(drives, t * LANES)
            steer = t * width + n
            after, now = (t + 1) * 4 * LANES, t * 4 * LANES
            decay0, decay1 = exp2(step * rate0), exp2(step * rate1)
            decay2, decay3 = exp2(step * rate2), exp2(step * rate3)
            h0 = fma(decay0, h0, drive * broadcast(Bs, steer, apart))
            h1 = fma(decay1, h1, drive * broadcast(Bs, steer + 1, apart))
            h2 = fma(decay2, h2, drive * broadcast(Bs, steer + 2, apart))
            h3 = fma(decay3, h3, drive * broadcast(Bs, steer + 3, apart))
            store(decays, now, decay0)
            store(decays, now + LANES, decay1)
            store(decays, now + 2 * LANES, decay2)
            store(decays, now + 3 * LANES, decay3)
            store(visited, after, h0)
            store(visited, after + LANES, h1)
            store(visited, after + 2 * LANES, h2)
            store(visited, after + 3 * LANES, h3)
        at = n * LANES
        dh0, dh1 = load(carried, at), load(carried, at + LANES)
        dh2, dh3 = load(carried, at + 2 * LANES), load(carried, at + 3 * LANES)
        dA0, dA1 = load(dA_sum, n * LANES), load(dA_sum, (n + 1) * LANES)
        dA2, dA3 = load(dA_sum, (n + 2) * LANES), load(dA_sum, (n + 3) * LANES)
        for t in range(size - 1, -1, -1):
            step, drive, grad = load(steps, t * LANES), load(drives, t * LANES), load(grads, t * LANES)
            steer = t * width + n
            before = now = t * 4 * LANES
            after = before + 4 * LANES
            dh0 = fma(grad, broadcast(Cs, steer, apart), dh0)
            dh1 = fma(grad, broadcast(Cs, steer + 1, apart), dh1)
            dh2 = fma(grad, broadcast(Cs, steer + 2, apart), dh2)
            dh3 = fma(grad, broadcast(Cs, steer + 3, apart), dh3)
            dC0, dC1 = grad * load(visited, after), grad * load(visited, after + LANES)
            dC2, dC3 = grad * load(visited, after + 2 * LANES), grad * load(visited, after + 3 * LANES)
            store(visited, after, merge_near(dC0, dC1, dC2, dC3))  # these states are not needed again
            ddrive = fma(dh0, broadcast(Bs, steer, apart), load(ddrives, t * LANES))
            ddrive = fma(dh1, broadcast(Bs, steer + 1, apart), ddrive)
            ddrive = fma(dh2, broadcast(Bs, steer + 2, apart), ddrive)
            store(ddrives, t * LANES, fma(dh3, broadcast(Bs, steer + 3, apart), ddrive))
            decay0, decay1 = load(decays, now), load(decays, now + LANES)
            decay2, decay3 = load(decays, now + 2 * LANES), load(decays, now + 3 * LANES)
            # nor are these decays
            store(decays, now, merge_near(dh0 * drive, dh1 * drive, dh2 * drive, dh3 * drive))
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
        for t in range(0, size, 4):
            dB_sums = merge_far(decays, t * 4 * LANES, 4 * LANES, apart)
            dC_sums = merge_far(visited, (t + 1) * 4 * LANES, 4 * LANES, apart)
            for e in range(entries):
                store(dB_near, (e * CHUNK + t) * width + 4 * n, dB_sums[e])
                store(dC_near, (e * CHUNK + t) * width + 4 * n, dC_sums[e])
    for e in range(entries):
        for t in range(0, size, 4):
            for n in range(0, width, LANES):
                at, to = (e * CHUNK + t) * width + 4 * n, apart[e] + t * width + n
                add_fours(dB_near, at, dBs, to, width)
                add_fours(dC_near, at, dCs, to, width)


@jit
def backward(item, apart, scratch, sizes, inputs, segments, softplus, grad_y, checkpoints, gradients):
    """The gradients of a WorkItem of `forward`. A chunk's states are computed again, then walked in reverse.

    Arrays are flat. du has a copy for each part of the directions, dB and dC for each part of the blocks. dA, dD and
    ddelta_bias hold a float64 sum for each batch entry; entries that share a vector share the first one's.
    """
    u, delta, A, B, C, D, delta_bias, _, step_of = inputs
    starts, lows, counts = segments
    du, ddelta, dA, dB, dC, dD, ddelta_bias = gradients
    control = flush_denormals()
    batch, directions, channels, groups, states, length = sizes
    b, g, entries = item.entry, item.group, len(apart)
    first_block, first_direction = item.first_block, item.first_direction
    share = channels // groups
    width = round_up(states, LANES)
    padded = round_up(states, 4)
    chunks = (length + CHUNK - 1) // CHUNK
    u_panel, step_panel, slope_panel = scratch.u_panel, scratch.step_panel, scratch.slope_panel
    grad_panel, B_panel, C_panel = scratch.grad_panel, scratch.B_panel, scratch.C_panel
    dB_panel, dC_panel, rate, kept = scratch.dB_panel, scratch.dC_panel, scratch.rate, scratch.kept
    drives, dsteps, ddrives, dA_sum = scratch.drives, scratch.dsteps, scratch.ddrives, scratch.dA_sum
    carried = scratch.carried
    rate[:] = 0
    scratch.visited[:] = 0
    scratch.decays[:] = 0
    kept[:] = 0
    zero, one = splat(0.0), splat(1.0)
    to_natural = splat(1 / LOG2_E)
    for k in range(first_direction, item.last_direction):
        carried[:] = 0
        for s in range(counts[k] - 1, -1, -1):
            low, first, last = lows[k, s], starts[k, s], starts[k, s + 1]
            segment = step_of, k * length + low, first, last - first
            for e in range(entries):
                steering = (((b + e) * directions + k) * groups + g) * states
                for n in range(0, states, LANES):
                    rows = lane_offsets(min(LANES, states - n), 1, length, 0)
                    fill(B, (steering + n) * length + low, rows, segment, B_panel, apart[e] + n, width)
                    fill(C, (steering + n) * length + low, rows, segment, C_panel, apart[e] + n, width)
                for j in range(last - first):
                    for n in range(states, padded):
                        # the states that pad a group of four get no gradient and pass none on
                        C_panel[apart[e] + j * width + n] = 0
                dB_panel[apart[e] : apart[e] + (last - first) * width] = 0
                dC_panel[apart[e] : apart[e] + (last - first) * width] = 0
            for block in range(first_block, item.last_block):
                channel = g * share + block * LANES
                count = min(LANES // entries, share - block * LANES)
                here = (block - first_block) * padded * LANES
                in_map = lane_offsets(count, entries, length, channels * length)
                in_delta = lane_offsets(count, entries, length, directions * channels * length)
                entry = (b * channels + channel) * length + low
                fill(u, entry, in_map, segment, u_panel, 0, LANES)
                fill(grad_y, entry, in_map, segment, grad_panel, 0, LANES)
                row = (b * directions + k) * channels + channel
                fill(delta, row * length + low, in_delta, segment, step_panel, 0, LANES)
                skip, bias = lane_parameters(A, D, delta_bias, k * channels + channel, states, count, entries, scratch)
                for i in range(LANES):
                    if i % (LANES // entries) >= count:
                        for j in range(last - first):
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
                    vector = item.first_vector + block - first_block
                    saved = ((vector * directions + k) * chunks + chunk) * states * LANES
                    for n in range(0, states * LANES, LANES):
                        store(kept, n, load(checkpoints, saved + n))
                    backward_chunk(
                        stop - start, apart, states, steps, grads, Bs, Cs, rate, carried[here:], scratch,
                        dB_panel[near * width :], dC_panel[near * width :],
                    )  # fmt: skip
                    for t in range(stop - start):
                        u_t, grad = load(us, t * LANES), load(grads, t * LANES)
                        ddrive = load(ddrives, t * LANES)
                        ddelta_t = fma(ddrive, u_t, load(dsteps, t * LANES) * to_natural) * load(slopes, t * LANES)
                        store(grads, t * LANES, fma(ddrive, load(steps, t * LANES), skip * grad))  # now du
                        store(slopes, t * LANES, ddelta_t)  # now ddelta
                        dD_sum = fma(grad, u_t, dD_sum)
                        bias_sum = bias_sum + ddelta_t
                    if chunk % FLUSH == 0 or chunk == first // CHUNK:  # before the rounding of float32 adds up
                        store(scratch.skip, 0, dD_sum)
                        store(scratch.bias, 0, bias_sum)
                        for lane in range(LANES):
                            i = lane % (LANES // entries)
                            if i < count:
                                dD[row + i] += scratch.skip[lane]
                                ddelta_bias[row + i] += scratch.bias[lane]
                                for n in range(states):
                                    dA[(row + i) * states + n] += dA_sum[n * LANES + lane]
                        dA_sum[:] = 0
                        dD_sum, bias_sum = zero, zero
                to = item.part * batch * channels * length + entry
                drain(grad_panel, 0, LANES, segment, du, to, in_map, k > first_direction)
                drain(slope_panel, 0, LANES, segment, ddelta, row * length + low, in_delta, False)
            for e in range(entries):
                steering = (((item.block_part * batch + b + e) * directions + k) * groups + g) * states
                for n in range(0, states, LANES):
                    rows, to = lane_offsets(min(LANES, states - n), 1, length, 0), (steering + n) * length + low
                    drain(dB_panel, apart[e] + n, width, segment, dB, to, rows, False)
                    drain(dC_panel, apart[e] + n, width, segment, dC, to, rows, False)
    restore_denormals(control)
