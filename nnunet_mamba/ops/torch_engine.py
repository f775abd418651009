"""The scan in plain torch, parallel on two levels. It runs on every device that torch knows.

A direction is cut into about sqrt(L) chunks of about sqrt(L) steps. All chunks take their steps together: first from a
zero state, to learn what each one adds; then, after the states have been carried from chunk to chunk, from the true
first state. Every factor is exp(A * sum of deltas), never a quotient of two. For A <= 0 no product exceeds one, so
nothing overflows, and nothing underflows that should not. Only the chunks' first states are kept for the backward pass.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from nnunet_mamba.ops.engines import ScanInputs, Sizes

# States of one block of channels that the backward pass keeps at a time: 64 MiB in float32.
STATES_AT_A_TIME = 2**24


def checkpoint_shape(sizes: Sizes) -> tuple[int, ...]:
    """The first state of each chunk."""
    return sizes.batch, sizes.directions, sizes.channels, sizes.states, _chunks(sizes.length)[1]


def scan_forward(inputs: ScanInputs, delta_softplus: bool, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """See ScanEngine. The checkpoints are the chunks' first states."""
    sizes = inputs.sizes
    batch, directions, channels, _, states, _ = sizes
    u, C, D = inputs.u, inputs.C, inputs.D
    output = torch.zeros_like(u)
    last_state = u.new_empty(batch, directions, channels, states)
    starts = u.new_empty(checkpoint_shape(sizes) if keep else 0)
    for walk in _walks(inputs, delta_softplus):
        k, c = walk.direction, walk.channels
        state = u.new_zeros(batch, c.stop - c.start, states, walk.chunks)
        elapsed = u.new_zeros(batch, c.stop - c.start, 1, walk.chunks)
        for t in range(walk.steps):
            decay, drive, _ = walk.step(t)
            live = state[..., : decay.shape[-1]]
            torch.addcmul(drive, decay, live, out=live)
            elapsed[..., : decay.shape[-1]] += walk.delta_t
        carry = torch.exp(elapsed * walk.A)
        state, last_state[:, k, c] = _carry_forward(state, carry)
        if keep:
            starts[:, k, c] = state
        for t in range(walk.steps):
            decay, drive, positions = walk.step(t)
            live = state[..., : decay.shape[-1]]
            torch.addcmul(drive, decay, live, out=live)
            visited = (live * walk.gather(C, positions)).sum(2).addcmul_(walk.u_t, D[k, c, None])
            output[:, c].index_add_(2, positions, visited)
    return output, last_state, starts


def exportable_scan(inputs: ScanInputs, delta_softplus: bool) -> tuple[Tensor, Tensor]:
    """Output and last states in about a hundred operators that exporters know, without a loop over steps: for ONNX.

    Each state reaches back over 1, 2, 4, ... steps in turn (Hillis and Steele 1986), again through decays only. All
    states of the sequence are in memory at once: fine for prediction, too much for training.
    """
    u, delta, A, B, C, D, delta_bias, positions, steps = inputs
    share = u.shape[1] // B.shape[2]
    visits = positions[None, :, None]
    step = (delta + delta_bias[..., None]).gather(3, visits.expand_as(delta))
    step = softplus(step) if delta_softplus else step
    visited_u = u[:, None].expand_as(delta).gather(3, visits.expand_as(delta))
    by_channel = visits[:, :, None].expand_as(B)
    B, C = (x.gather(4, by_channel).repeat_interleave(share, dim=2) for x in (B, C))  # (B, K, C, N, L)
    decay = torch.exp(step[:, :, :, None] * A[..., None])
    state = (step * visited_u)[:, :, :, None] * B
    reach = 1
    while reach < u.shape[2]:
        reached = state[..., reach:] + decay[..., reach:] * state[..., :-reach]
        state = torch.cat([state[..., :reach], reached], dim=-1)
        decay = torch.cat([decay[..., :reach], decay[..., reach:] * decay[..., :-reach]], dim=-1)
        reach *= 2
    y = (state * C).sum(3) + D[..., None] * visited_u
    return y.gather(3, steps[None, :, None].expand_as(y)).sum(1), state[..., -1]


def scan_backward(
    grad_output: Tensor, inputs: ScanInputs, delta_softplus: bool, checkpoints: Tensor
) -> tuple[Tensor, ...]:
    """See ScanEngine. The states inside a chunk are computed again."""
    u, delta, A, B, C, D, delta_bias, _, _ = inputs
    du, ddelta, dA, dB, dC = (torch.zeros_like(x) for x in (u, delta, A, B, C))
    dD, dbias = torch.zeros_like(D), torch.zeros_like(delta_bias)
    for walk in _walks(inputs, delta_softplus):
        k, c, g = walk.direction, walk.channels, walk.group
        before, decays = [], []
        state = checkpoints[:, k, c].clone()
        since_start = torch.ones_like(state)
        adjoint = torch.zeros_like(state)
        for t in range(walk.steps):
            decay, drive, positions = walk.step(t)
            live = decay.shape[-1]
            before.append(state[..., :live].clone())
            decays.append(decay)
            torch.addcmul(drive, decay, state[..., :live], out=state[..., :live])
            since_start[..., :live] *= decay
            grad_t = grad_output[:, c].index_select(2, positions)[:, :, None]
            adjoint[..., :live] += since_start[..., :live] * walk.gather(C, positions) * grad_t
        adjoint = _carry_backward(adjoint, since_start)

        for t in reversed(range(walk.steps)):
            positions = walk.positions(t)
            live = positions.numel()
            state, decay = before.pop(), decays.pop()
            delta_t, u_t, slope = walk.read(positions)
            B_t, C_t = walk.gather(B, positions), walk.gather(C, positions)
            grad_t = grad_output[:, c].index_select(2, positions)
            after = decay * state + (delta_t * u_t)[:, :, None] * B_t
            grad_state = adjoint[..., :live].addcmul_(C_t, grad_t[:, :, None])
            along_B = (grad_state * B_t).sum(2)
            through_decay = state.mul_(decay).mul_(grad_state)
            dA[k, c] += (through_decay * delta_t[:, :, None]).sum((0, 3))
            grad_delta = (along_B * u_t + (through_decay * walk.A).sum(2)) * slope
            ddelta[:, k, c].index_copy_(2, positions, grad_delta)
            du[:, c].index_add_(2, positions, torch.addcmul(along_B * delta_t, grad_t, D[k, c, None]))
            dB[:, k, g].index_add_(2, positions, (grad_state * (delta_t * u_t)[:, :, None]).sum(1))
            dC[:, k, g].index_add_(2, positions, (after * grad_t[:, :, None]).sum(1))
            dD[k, c] += (grad_t * u_t).sum((0, 2))
            dbias[k, c] += grad_delta.sum((0, 2))
            grad_state.mul_(decay)
    return du, ddelta, dA, dB, dC, dD, dbias


@dataclass
class _Walk:
    """One block of channels along one direction: reads what step t of every chunk needs."""

    inputs: ScanInputs
    delta_softplus: bool
    direction: int
    group: int
    channels: slice
    steps: int
    chunks: int

    def __post_init__(self):
        self.A = self.inputs.A[self.direction, self.channels, :, None]  # (C, N, 1)
        self.order = self.inputs.positions[self.direction]

    def positions(self, t: int) -> Tensor:
        """Where step t of every chunk is. The last chunk may be shorter."""
        return self.order[t :: self.steps]

    def gather(self, tensor: Tensor, positions: Tensor) -> Tensor:
        """B or C at `positions`: (B, 1, N, chunks)."""
        return tensor[:, self.direction, self.group].index_select(2, positions)[:, None]

    def read(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor | float]:
        """delta after its softplus, u, and the softplus's slope at `positions`: (B, C, chunks)."""
        raw = self.inputs.delta[:, self.direction, self.channels].index_select(2, positions)
        raw = raw + self.inputs.delta_bias[self.direction, self.channels, None]
        u_t = self.inputs.u[:, self.channels].index_select(2, positions)
        return (softplus(raw), u_t, torch.sigmoid(raw)) if self.delta_softplus else (raw, u_t, 1.0)

    def step(self, t: int) -> tuple[Tensor, Tensor, Tensor]:
        """Decay and drive of the states (B, C, N, chunks) and the positions of step t."""
        positions = self.positions(t)
        delta_t, self.u_t, _ = self.read(positions)
        self.delta_t = delta_t[:, :, None]
        drive = (delta_t * self.u_t)[:, :, None] * self.gather(self.inputs.B, positions)
        return torch.exp(self.delta_t * self.A), drive, positions


def _walks(inputs: ScanInputs, delta_softplus: bool) -> Iterator[_Walk]:
    batch, directions, channels, groups, states, length = inputs.sizes
    steps, chunks = _chunks(length)
    share = channels // groups
    block = max(1, min(share, STATES_AT_A_TIME // (batch * states * length)))
    for direction in range(directions):
        for group in range(groups):
            stop = (group + 1) * share
            for start in range(group * share, stop, block):
                part = slice(start, min(start + block, stop))
                yield _Walk(inputs, delta_softplus, direction, group, part, steps, chunks)


def _chunks(length: int) -> tuple[int, int]:
    """Steps per chunk and number of chunks."""
    steps = max(1, math.isqrt(length))
    return steps, -(-length // steps)


def _carry_forward(added: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
    """Each chunk's first state, and the last one, from what chunks add to a zero state and how they decay a state."""
    starts = torch.empty_like(added)
    state = torch.zeros_like(added[..., 0])
    for chunk in range(added.shape[-1]):
        starts[..., chunk] = state
        state = torch.addcmul(added[..., chunk], carry[..., chunk], state)
    return starts, state


def _carry_backward(added: Tensor, carry: Tensor) -> Tensor:
    """The same backwards in time: the gradient that reaches each chunk's last state from the chunks after it."""
    arriving = torch.empty_like(added)
    state = torch.zeros_like(added[..., 0])
    for chunk in reversed(range(added.shape[-1])):
        arriving[..., chunk] = state
        state = torch.addcmul(added[..., chunk], carry[..., chunk], state)
    return arriving
