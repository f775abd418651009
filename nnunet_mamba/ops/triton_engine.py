"""The GPU engine: Triton kernels that walk the chunks of an order in parallel, so that one sequence can fill a GPU.

Three passes each way: what each chunk adds to a zero state, a scan over chunks for their first states, and the chunks
again from there. A program holds some channels and all their states of one chunk in registers. Nothing is multiplied by
more than a decay. Directions and blocks of channels write to buffers of their own, which are summed afterwards: no
atomics, and the same bits every time.
"""

import logging
from contextlib import nullcontext
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from nnunet_mamba.ops.engines import ScanInputs, Sizes

logger = logging.getLogger("nnunet_mamba")

CHUNK = 16  # steps whose states the backward keeps in registers
TILE = 128  # channels times states of a program, four per thread of a warp
CHUNKS_AT_A_TIME = 1024  # in the scan over chunks: eight per thread of four warps


def checkpoint_shape(sizes: Sizes) -> tuple[int, ...]:
    """The first state of each chunk."""
    return sizes.batch, sizes.directions, sizes.channels, sizes.states, triton.cdiv(sizes.length, CHUNK)


def scan_forward(inputs: ScanInputs, delta_softplus: bool, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """See ScanEngine. The checkpoints are the chunks' first states."""
    _announce()
    u, *steering, _ = inputs
    launch = _Launch(inputs.sizes, delta_softplus)
    added, elapsed = launch.empty_added(u), launch.empty_elapsed(u)
    with _on(u):
        _add_up[launch.grid](u, *steering, added, elapsed, **launch.constants)
        starts, last_state = launch.carry(added, elapsed, inputs.A, reverse=False)
        y = torch.empty_like(inputs.delta)
        _outputs[launch.grid](u, *steering, starts, y, **launch.constants)
    return y.sum(1), last_state, starts if keep else starts.new_empty(0)


def scan_backward(
    grad_output: Tensor, inputs: ScanInputs, delta_softplus: bool, checkpoints: Tensor
) -> tuple[Tensor, ...]:
    """See ScanEngine. The states inside a chunk are computed again."""
    u, *steering, _ = inputs
    launch = _Launch(inputs.sizes, delta_softplus)
    added, elapsed = launch.empty_added(u), launch.empty_elapsed(u)
    with _on(u):
        _add_up_adjoints[launch.grid](grad_output, *steering, added, elapsed, **launch.constants)
        arriving, _ = launch.carry(added, elapsed, inputs.A, reverse=True)
        del added, elapsed
        du, ddelta = torch.empty_like(inputs.delta), torch.empty_like(inputs.delta)
        dA = torch.empty_like(checkpoints)
        dB, dC = (inputs.B.new_empty(launch.blocks, *inputs.B.shape) for _ in range(2))
        states, gradients = (checkpoints, arriving), (du, ddelta, dA, dB, dC)
        _gradients[launch.grid](grad_output, u, *steering, *states, *gradients, **launch.constants)
    dD = (grad_output * u).sum((0, 2)).expand_as(inputs.D).contiguous()
    return du.sum(1), ddelta, dA.sum((0, 4)), dB.sum(0), dC.sum(0), dD, ddelta.sum((0, 3))


@cache
def _announce() -> None:
    logger.info("Triton compiles the scan's kernels at their first call (about ten seconds, once: cached on disk) ...")


class _Launch:
    """How the kernels of one scan are launched."""

    def __init__(self, sizes: Sizes, delta_softplus: bool):
        batch, directions, channels, groups, states, length = sizes
        self.chunks = triton.cdiv(length, CHUNK)
        block_n = triton.next_power_of_2(states)
        block_c = min(triton.next_power_of_2(channels // groups), max(1, TILE // block_n))
        self.blocks = triton.cdiv(channels // groups, block_c)
        self.grid = (batch * directions * groups * self.blocks * self.chunks,)
        self.state_shape = (batch, directions, channels, states)
        self.constants = {
            "batch": batch, "directions": directions, "channels": channels, "groups": groups, "length": length,
            "STATES": states, "CHUNK": CHUNK, "BLOCK_C": block_c, "BLOCK_N": block_n, "SOFTPLUS": delta_softplus,
            "num_warps": 1,
        }  # fmt: skip

    def empty_added(self, like: Tensor) -> Tensor:
        return like.new_empty(*self.state_shape, self.chunks)

    def empty_elapsed(self, like: Tensor) -> Tensor:
        return like.new_empty(*self.state_shape[:3], self.chunks)

    def carry(self, added: Tensor, elapsed: Tensor, A: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
        """The first state of each chunk and the last state of all, from what each chunk adds and how long it takes."""
        starts, last = torch.empty_like(added), added.new_empty(self.state_shape)
        block_j = min(CHUNKS_AT_A_TIME, triton.next_power_of_2(self.chunks))
        _carry[(last.numel(),)](
            added, elapsed, A, starts, last, *self.state_shape[1:3], self.chunks,
            STATES=self.state_shape[3], BLOCK_J=block_j, REVERSE=reverse,
        )  # fmt: skip
        return starts, last


def _on(tensor: Tensor):
    """Make the tensor's GPU the current one, where kernels run. On a CPU, Triton's interpreter needs nothing."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


@triton.jit
def _place(directions, channels, groups, length, STATES: tl.constexpr, CHUNK: tl.constexpr, BLOCK_C: tl.constexpr):
    """This program's chunk, entry (batch and direction), entry and group, block, direction, channels, their mask."""
    program = tl.program_id(0)
    chunks = tl.cdiv(length, CHUNK)
    share = channels // groups
    blocks = tl.cdiv(share, BLOCK_C)
    block = (program // chunks) % blocks
    steered = (program // chunks // blocks).to(tl.int64)
    entry = steered // groups
    inside = block * BLOCK_C + tl.arange(0, BLOCK_C)
    channel = (steered % groups) * share + inside
    return program % chunks, entry, steered, block, entry % directions, channel, inside < share


@triton.jit
def _step_size(raw, SOFTPLUS: tl.constexpr):
    """The step size and its derivative with respect to `raw`."""
    if SOFTPLUS:
        power = tl.exp(-tl.abs(raw))
        plus_one = 1.0 + power
        # Kahan's log(1 + x): the rounding of 1 + x cancels out, so small steps keep their digits.
        logarithm = tl.where(
            plus_one == 1.0, power, power * tl.log(plus_one) / tl.where(plus_one == 1.0, 1.0, plus_one - 1.0)
        )
        return tl.maximum(raw, 0.0) + logarithm, tl.where(raw > 0.0, 1.0, power) / plus_one
    return raw, tl.full(raw.shape, 1.0, tl.float32)


@triton.jit
def _rows(pointer, rows, position, real):
    """The value of each row at `position`."""
    return tl.load(pointer + rows + position, mask=real, other=0.0)


@triton.jit
def _add_up(
    u, delta, A, B, C, D, delta_bias, orders, added, elapsed,
    batch, directions, channels, groups, length,
    STATES: tl.constexpr, CHUNK: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr, SOFTPLUS: tl.constexpr,
):  # fmt: skip
    """What each chunk adds to a zero state (B, K, C, N, chunks), and the sum of its step sizes (B, K, C, chunks)."""
    chunk, entry, steered, block, k, channel, real = _place(
        directions, channels, groups, length, STATES, CHUNK, BLOCK_C
    )
    n = tl.arange(0, BLOCK_N)
    steering = k * channels + channel
    rate = tl.load(A + steering[:, None] * STATES + n[None, :], mask=real[:, None] & (n < STATES)[None, :], other=0.0)
    bias = tl.load(delta_bias + steering, mask=real, other=0.0)
    u_rows = (entry // directions * channels + channel) * length
    delta_rows = (entry * channels + channel) * length
    B_rows = (steered * STATES + n) * length
    state = tl.zeros((BLOCK_C, BLOCK_N), tl.float32)
    total = tl.zeros((BLOCK_C,), tl.float32)
    for t in range(chunk * CHUNK, min((chunk + 1) * CHUNK, length)):
        position = tl.load(orders + k * length + t)
        step, _ = _step_size(_rows(delta, delta_rows, position, real) + bias, SOFTPLUS)
        drive = step * _rows(u, u_rows, position, real)
        state = tl.exp(step[:, None] * rate) * state + drive[:, None] * _rows(B, B_rows, position, n < STATES)[None, :]
        total += step
    chunks = tl.cdiv(length, CHUNK)
    row = entry * channels + channel
    kept = real[:, None] & (n < STATES)[None, :]
    tl.store(added + (row[:, None] * STATES + n[None, :]) * chunks + chunk, state, mask=kept)
    tl.store(elapsed + row * chunks + chunk, total, mask=real)


@triton.jit
def _after(decay, added, next_decay, next_added):
    return decay * next_decay, next_decay * added + next_added


@triton.jit
def _carry(
    added, elapsed, A, starts, last, directions, channels, chunks,
    STATES: tl.constexpr, BLOCK_J: tl.constexpr, REVERSE: tl.constexpr,
):  # fmt: skip
    """For one state of one channel of one entry: its value before each chunk (REVERSE: after it), and the last one."""
    cell = tl.program_id(0).to(tl.int64)
    row = cell // STATES
    k = (row // channels) % directions
    rate = tl.load(A + (k * channels + row % channels) * STATES + cell % STATES)
    state = 0.0
    for first in range(0, chunks, BLOCK_J):
        j = first + tl.arange(0, BLOCK_J)
        at = chunks - 1 - j if REVERSE else j
        following = at - 1 if REVERSE else at + 1
        time = tl.load(elapsed + row * chunks + at, mask=j < chunks, other=0.0)
        plus = tl.load(added + cell * chunks + at, mask=j < chunks, other=0.0)
        tl.store(starts + cell * chunks + at, tl.zeros((BLOCK_J,), tl.float32) + state, mask=j == first)
        decay, inner = tl.associative_scan((tl.exp(time * rate), plus), 0, _after)
        after = decay * state + inner
        tl.store(starts + cell * chunks + following, after, mask=j + 1 < min(first + BLOCK_J, chunks))
        state = tl.sum(tl.where(j == first + BLOCK_J - 1, after, 0.0), 0)
    tl.store(last + cell, state)


@triton.jit
def _outputs(
    u, delta, A, B, C, D, delta_bias, orders, starts, y,
    batch, directions, channels, groups, length,
    STATES: tl.constexpr, CHUNK: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr, SOFTPLUS: tl.constexpr,
):  # fmt: skip
    """The output of each direction (B, K, C, L), in spatial order."""
    chunk, entry, steered, block, k, channel, real = _place(
        directions, channels, groups, length, STATES, CHUNK, BLOCK_C
    )
    n = tl.arange(0, BLOCK_N)
    steering = k * channels + channel
    kept = real[:, None] & (n < STATES)[None, :]
    rate = tl.load(A + steering[:, None] * STATES + n[None, :], mask=kept, other=0.0)
    bias = tl.load(delta_bias + steering, mask=real, other=0.0)
    skip = tl.load(D + steering, mask=real, other=0.0)
    u_rows = (entry // directions * channels + channel) * length
    delta_rows = (entry * channels + channel) * length
    B_rows = (steered * STATES + n) * length
    cells = ((entry * channels + channel)[:, None] * STATES + n[None, :]) * tl.cdiv(length, CHUNK) + chunk
    state = tl.load(starts + cells, mask=kept, other=0.0)
    for t in range(chunk * CHUNK, min((chunk + 1) * CHUNK, length)):
        position = tl.load(orders + k * length + t)
        step, _ = _step_size(_rows(delta, delta_rows, position, real) + bias, SOFTPLUS)
        u_t = _rows(u, u_rows, position, real)
        B_t, C_t = _rows(B, B_rows, position, n < STATES), _rows(C, B_rows, position, n < STATES)
        state = tl.exp(step[:, None] * rate) * state + (step * u_t)[:, None] * B_t[None, :]
        tl.store(y + delta_rows + position, tl.sum(state * C_t[None, :], 1) + skip * u_t, mask=real)


@triton.jit
def _add_up_adjoints(
    grad_y, delta, A, B, C, D, delta_bias, orders, added, elapsed,
    batch, directions, channels, groups, length,
    STATES: tl.constexpr, CHUNK: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr, SOFTPLUS: tl.constexpr,
):  # fmt: skip
    """The gradient of the state before each chunk from the chunk's own outputs, and the sum of its step sizes."""
    chunk, entry, steered, block, k, channel, real = _place(
        directions, channels, groups, length, STATES, CHUNK, BLOCK_C
    )
    n = tl.arange(0, BLOCK_N)
    steering = k * channels + channel
    kept = real[:, None] & (n < STATES)[None, :]
    rate = tl.load(A + steering[:, None] * STATES + n[None, :], mask=kept, other=0.0)
    bias = tl.load(delta_bias + steering, mask=real, other=0.0)
    grad_rows = (entry // directions * channels + channel) * length
    delta_rows = (entry * channels + channel) * length
    C_rows = (steered * STATES + n) * length
    adjoint = tl.zeros((BLOCK_C, BLOCK_N), tl.float32)
    total = tl.zeros((BLOCK_C,), tl.float32)
    first, stop = chunk * CHUNK, min((chunk + 1) * CHUNK, length)
    for back in range(stop - first):
        position = tl.load(orders + k * length + stop - 1 - back)
        step, _ = _step_size(_rows(delta, delta_rows, position, real) + bias, SOFTPLUS)
        grad = _rows(grad_y, grad_rows, position, real)
        C_t = _rows(C, C_rows, position, n < STATES)
        adjoint = tl.exp(step[:, None] * rate) * (adjoint + grad[:, None] * C_t[None, :])
        total += step
    chunks = tl.cdiv(length, CHUNK)
    row = entry * channels + channel
    tl.store(added + (row[:, None] * STATES + n[None, :]) * chunks + chunk, adjoint, mask=kept)
    tl.store(elapsed + row * chunks + chunk, total, mask=real)


@triton.jit
def _gradients(
    grad_y, u, delta, A, B, C, D, delta_bias, orders, starts, arriving, du, ddelta, dA, dB, dC,
    batch, directions, channels, groups, length,
    STATES: tl.constexpr, CHUNK: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_N: tl.constexpr, SOFTPLUS: tl.constexpr,
):  # fmt: skip
    """du and ddelta (B, K, C, L), dA (B, K, C, N, chunks), dB and dC (blocks, B, K, G, N, L)."""
    chunk, entry, steered, block, k, channel, real = _place(
        directions, channels, groups, length, STATES, CHUNK, BLOCK_C
    )
    n = tl.arange(0, BLOCK_N)
    steering = k * channels + channel
    kept = real[:, None] & (n < STATES)[None, :]
    rate = tl.load(A + steering[:, None] * STATES + n[None, :], mask=kept, other=0.0)
    bias = tl.load(delta_bias + steering, mask=real, other=0.0)
    skip = tl.load(D + steering, mask=real, other=0.0)
    u_rows = (entry // directions * channels + channel) * length
    delta_rows = (entry * channels + channel) * length
    B_rows = (steered * STATES + n) * length
    part_rows = B_rows + block * (batch * directions * groups).to(tl.int64) * STATES * length
    cells = ((entry * channels + channel)[:, None] * STATES + n[None, :]) * tl.cdiv(length, CHUNK) + chunk
    state = tl.load(starts + cells, mask=kept, other=0.0)
    adjoint = tl.load(arriving + cells, mask=kept, other=0.0)
    rate_gradient = tl.zeros((BLOCK_C, BLOCK_N), tl.float32)
    ends = tl.full((BLOCK_C,), length, tl.int32)
    before = ()
    for i in tl.static_range(CHUNK):  # steps after the end of the sequence have size zero and change nothing
        t = chunk * CHUNK + i
        live = t < ends
        position = tl.load(orders + k * length + t, mask=t < length, other=0)
        step, _ = _step_size(_rows(delta, delta_rows, position, real & live) + bias, SOFTPLUS)
        step = tl.where(live, step, 0.0)
        drive = step * _rows(u, u_rows, position, real)
        before += (state,)  # type: ignore[assignment]  # a tuple that grows; Triton knows no (*before, state)
        state = tl.exp(step[:, None] * rate) * state + drive[:, None] * _rows(B, B_rows, position, n < STATES)[None, :]
    for back in tl.static_range(CHUNK):
        t = chunk * CHUNK + CHUNK - 1 - back
        live = t < ends
        position = tl.load(orders + k * length + t, mask=t < length, other=0)
        step, slope = _step_size(_rows(delta, delta_rows, position, real & live) + bias, SOFTPLUS)
        step = tl.where(live, step, 0.0)
        u_t = _rows(u, u_rows, position, real)
        grad = _rows(grad_y, u_rows, position, real & live)
        B_t, C_t = _rows(B, B_rows, position, n < STATES), _rows(C, B_rows, position, n < STATES)
        decayed = tl.exp(step[:, None] * rate) * before[CHUNK - 1 - back]
        adjoint += grad[:, None] * C_t[None, :]
        after = decayed + (step * u_t)[:, None] * B_t[None, :]
        along_B = tl.sum(adjoint * B_t[None, :], 1)
        through_decay = adjoint * decayed
        rate_gradient += through_decay * step[:, None]
        step_gradient = along_B * u_t + tl.sum(through_decay * rate, 1)
        tl.store(ddelta + delta_rows + position, step_gradient * slope, mask=real & live)
        tl.store(du + delta_rows + position, along_B * step + grad * skip, mask=real & live)
        written = (n < STATES) & (t < tl.full((BLOCK_N,), length, tl.int32))
        tl.store(dB + part_rows + position, tl.sum(adjoint * (step * u_t)[:, None], 0), mask=written)
        tl.store(dC + part_rows + position, tl.sum(after * grad[:, None], 0), mask=written)
        adjoint *= tl.exp(step[:, None] * rate)
    tl.store(dA + cells, rate_gradient, mask=kept)
