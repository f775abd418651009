"""The CPU engine's kernels: one thread's share of the scan, forward and backward, with the states as SIMD lanes.

Every array is flat, contiguous float32; the comments give its shape. `low` and `high` bound the channels of the share.
States are 16 wide: the engine pads.
"""

from math import log

from numba import njit
from numpy import empty, float32, zeros

from nnunet_mamba.ops.simd import LANES, add, exp2, fma, load, mul, splat, store, sum_lanes

LN_2 = float32(log(2))
CHUNK = 64  # steps whose states the backward pass recomputes at a time; they stay in the first-level cache


@njit(nogil=True, cache=True)
def _read_tile(source, base, length, states, order, first, steps, tile):
    """source (N, L) from `base` at the visited positions -> tile (steps, 16)."""
    for n in range(states):
        row = base + n * length
        for t in range(steps):
            tile[t * LANES + n] = source[row + order[first + t]]


@njit(nogil=True, cache=True)
def forward(u, delta, A, B, C, orders, output, starts, last_state, sizes, batch_item, low, high):
    """Adds C_t h_t of all directions to `output` (B, C, L).

    u (B, C, L); delta (B, K, C, L) after its softplus; A (K, C, 16) times log2(e); B, C (B, K, G, N, L); orders (K, L);
    starts (B, K, chunks, C, 16), the state before each chunk; last_state (B, K, C, 16).
    """
    channels, length, directions, groups, states, chunks = sizes
    share = channels // groups
    B_tile = zeros(CHUNK * LANES, float32)
    C_tile = zeros(CHUNK * LANES, float32)
    for k in range(directions):
        bk = batch_item * directions + k
        order = orders[k]
        state = zeros((high - low) * LANES, float32)
        for chunk in range(chunks):
            first = chunk * CHUNK
            steps = min(CHUNK, length - first)
            group = -1
            for c in range(low, high):
                if c // share != group:
                    group = c // share
                    base = (bk * groups + group) * states * length
                    _read_tile(B, base, length, states, order, first, steps, B_tile)
                    _read_tile(C, base, length, states, order, first, steps, C_tile)
                u_row = (batch_item * channels + c) * length
                delta_row = (bk * channels + c) * length
                decay_rate = load(A, (k * channels + c) * LANES)
                h = load(state, (c - low) * LANES)
                store(starts, ((bk * chunks + chunk) * channels + c) * LANES, h)
                for t in range(steps):
                    position = order[first + t]
                    delta_t = delta[delta_row + position]
                    drive = mul(splat(delta_t * u[u_row + position]), load(B_tile, t * LANES))
                    h = fma(exp2(mul(splat(delta_t), decay_rate)), h, drive)
                    output[u_row + position] += sum_lanes(mul(h, load(C_tile, t * LANES)))
                store(state, (c - low) * LANES, h)
        for c in range(low, high):
            store(last_state, (bk * channels + c) * LANES, load(state, (c - low) * LANES))


@njit(nogil=True, cache=True)
def backward(grad, u, delta, A, B, C, orders, starts, du, ddelta, dA, dB, dC, sizes, batch_item, low, high):
    """Adds to du (B, C, L), ddelta (B, K, C, L) and dA (K, C, 16) of this batch item, dB and dC (K, G, N, L) of this share.

    grad (B, C, L) is the gradient to the output; the rest is as in `forward`.
    """
    channels, length, directions, groups, states, chunks = sizes
    share = channels // groups
    B_tile = zeros(CHUNK * LANES, float32)
    C_tile = zeros(CHUNK * LANES, float32)
    dB_tile = empty(CHUNK * LANES, float32)
    dC_tile = empty(CHUNK * LANES, float32)
    decays = empty(CHUNK * LANES, float32)
    before = empty(CHUNK * LANES, float32)  # the state before each step
    nothing = splat(float32(0))
    for k in range(directions):
        bk = batch_item * directions + k
        order = orders[k]
        adjoint = zeros((high - low) * LANES, float32)
        for reverse in range(chunks):
            chunk = chunks - 1 - reverse
            first = chunk * CHUNK
            steps = min(CHUNK, length - first)
            group = -1
            for c in range(low, high):
                if c // share != group:
                    group = c // share
                    base = (bk * groups + group) * states * length
                    _read_tile(B, base, length, states, order, first, steps, B_tile)
                    _read_tile(C, base, length, states, order, first, steps, C_tile)
                    dB_tile[:] = 0
                    dC_tile[:] = 0
                u_row = (batch_item * channels + c) * length
                delta_row = (bk * channels + c) * length
                rate = (k * channels + c) * LANES
                decay_rate = load(A, rate)
                h = load(starts, ((bk * chunks + chunk) * channels + c) * LANES)
                for t in range(steps):
                    position = order[first + t]
                    delta_t = delta[delta_row + position]
                    store(before, t * LANES, h)
                    decay = exp2(mul(splat(delta_t), decay_rate))
                    store(decays, t * LANES, decay)
                    h = fma(decay, h, mul(splat(delta_t * u[u_row + position]), load(B_tile, t * LANES)))
                g = load(adjoint, (c - low) * LANES)
                dA_c = nothing
                for back in range(steps):
                    t = steps - 1 - back
                    position = order[first + t]
                    delta_t = delta[delta_row + position]
                    u_t = u[u_row + position]
                    grad_t = splat(grad[u_row + position])
                    B_t = load(B_tile, t * LANES)
                    g = fma(load(C_tile, t * LANES), grad_t, g)
                    store(dC_tile, t * LANES, fma(h, grad_t, load(dC_tile, t * LANES)))
                    store(dB_tile, t * LANES, fma(g, splat(delta_t * u_t), load(dB_tile, t * LANES)))
                    decay = load(decays, t * LANES)
                    h = load(before, t * LANES)
                    g_decay = mul(g, decay)
                    through_decay = mul(g_decay, h)
                    along_B = sum_lanes(mul(g, B_t))
                    du[u_row + position] += delta_t * along_B
                    ddelta[delta_row + position] += u_t * along_B + LN_2 * sum_lanes(mul(through_decay, decay_rate))
                    dA_c = fma(splat(delta_t), through_decay, dA_c)
                    g = g_decay
                store(adjoint, (c - low) * LANES, g)
                store(dA, rate, add(load(dA, rate), dA_c))
                if c + 1 == high or (c + 1) // share != group:
                    base = (k * groups + group) * states * length
                    for n in range(states):
                        row = base + n * length
                        for t in range(steps):
                            dB[row + order[first + t]] += dB_tile[t * LANES + n]
                            dC[row + order[first + t]] += dC_tile[t * LANES + n]
