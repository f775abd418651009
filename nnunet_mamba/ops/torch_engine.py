"""The scan in plain torch, parallel in two levels: it runs on every device that torch knows.

A direction's visits are cut into about sqrt(L) chunks of about sqrt(L) steps. All chunks take their steps together, first
from a zero state to learn what each adds, then, once the chunks' states have been carried from one to the next, from the
state they really start with. Every factor is exp(A * sum of deltas), never a quotient of two: for A <= 0 no product exceeds
one, so nothing over- or underflows that should not. Only the chunks' first states are kept for the backward pass.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

# States of one block of channels that the backward pass keeps at a time: 64 MiB in float32.
STATES_AT_A_TIME = 2**24


def checkpoint_shape(batch: int, directions: int, channels: int, states: int, length: int) -> tuple[int, ...]:
    """Shape of what `scan_forward` keeps for `scan_backward`: the state that each chunk starts with."""
    return batch, directions, channels, states, _chunks(length)[1]


def scan_forward(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    orders: Tensor,
    delta_softplus: bool,
    keep: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Shapes as in `reference.scan`; returns the output, the last states and the chunks' first states to `keep`."""
    batch, channels, length = u.shape
    directions, _, states = A.shape
    output = torch.zeros_like(u)
    last_state = u.new_empty(batch, directions, channels, states)
    starts = u.new_empty(checkpoint_shape(batch, directions, channels, states, length) if keep else 0)
    for walk in _walks(u, delta, A, B, C, delta_bias, orders, delta_softplus):
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


def exportable_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    orders: Tensor,
    delta_softplus: bool,
) -> tuple[Tensor, Tensor]:
    """The same in some hundred operators that every exporter knows, without a loop over steps: for ONNX.

    Each state reaches back over 1, 2, 4, ... steps in turn (Hillis and Steele 1986), again through decays alone. All states of
    the sequence are in memory at once, which a file for prediction can bear and training could not.
    """
    share = u.shape[1] // B.shape[2]
    visits = orders[None, :, None]
    step = (delta + delta_bias[..., None]).gather(3, visits.expand_as(delta))
    step = softplus(step) if delta_softplus else step
    visited_u = u[:, None].expand_as(delta).gather(3, visits.expand_as(delta))
    B, C = (
        x.gather(4, visits[:, :, None].expand_as(x)).repeat_interleave(share, dim=2) for x in (B, C)
    )  # (B, K, C, N, L)
    decay = torch.exp(step[:, :, :, None] * A[..., None])
    state = (step * visited_u)[:, :, :, None] * B
    reach = 1
    while reach < u.shape[2]:
        reached = state[..., reach:] + decay[..., reach:] * state[..., :-reach]
        state = torch.cat([state[..., :reach], reached], dim=-1)
        decay = torch.cat([decay[..., :reach], decay[..., reach:] * decay[..., :-reach]], dim=-1)
        reach *= 2
    y = (state * C).sum(3) + D[..., None] * visited_u
    places = orders.argsort(dim=1)[None, :, None]
    return y.gather(3, places.expand_as(y)).sum(1), state[..., -1]


def scan_backward(
    grad_output: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor,
    orders: Tensor,
    delta_softplus: bool,
    starts: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients to u, delta, A, B, C, D and delta_bias; the states inside a chunk are computed again."""
    du, ddelta, dA, dB, dC = (torch.zeros_like(x) for x in (u, delta, A, B, C))
    dD, dbias = torch.zeros_like(D), torch.zeros_like(delta_bias)
    for walk in _walks(u, delta, A, B, C, delta_bias, orders, delta_softplus):
        k, c, g = walk.direction, walk.channels, walk.group
        before, decays = [], []
        state = starts[:, k, c].clone()
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
    """One block of channels along one direction: reads what step t of every chunk needs, through the order."""

    u: Tensor
    delta: Tensor
    A: Tensor  # (C, N, 1)
    B: Tensor
    delta_bias: Tensor
    order: Tensor
    delta_softplus: bool
    direction: int
    group: int
    channels: slice
    steps: int
    chunks: int

    def positions(self, t: int) -> Tensor:
        """Where step t of every chunk is; the last chunk may have ended before."""
        return self.order[t :: self.steps]

    def gather(self, tensor: Tensor, positions: Tensor) -> Tensor:
        """B or C at `positions`: (B, 1, N, chunks)."""
        return tensor[:, self.direction, self.group].index_select(2, positions)[:, None]

    def read(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor | float]:
        """delta after its softplus, u, and the softplus's slope at `positions`: (B, C, chunks)."""
        raw = self.delta[:, self.direction, self.channels].index_select(2, positions)
        raw = raw + self.delta_bias[self.direction, self.channels, None]
        u_t = self.u[:, self.channels].index_select(2, positions)
        return (softplus(raw), u_t, torch.sigmoid(raw)) if self.delta_softplus else (raw, u_t, 1.0)

    def step(self, t: int) -> tuple[Tensor, Tensor, Tensor]:
        """Decay and drive of the states (B, C, N, chunks) and the positions of step t."""
        positions = self.positions(t)
        delta_t, self.u_t, _ = self.read(positions)
        self.delta_t = delta_t[:, :, None]
        drive = (delta_t * self.u_t)[:, :, None] * self.gather(self.B, positions)
        return torch.exp(self.delta_t * self.A), drive, positions


def _walks(u, delta, A, B, C, delta_bias, orders, delta_softplus) -> Iterator[_Walk]:
    batch, channels, length = u.shape
    directions, groups, states = B.shape[1:4]
    steps, chunks = _chunks(length)
    share = channels // groups
    block = max(1, min(share, STATES_AT_A_TIME // (batch * states * length)))
    for direction in range(directions):
        for first in range(0, channels, share):
            for start in range(first, first + share, block):
                part = slice(start, min(start + block, first + share))
                yield _Walk(
                    u, delta, A[direction, part, :, None], B, delta_bias, orders[direction], delta_softplus,
                    direction, first // share, part, steps, chunks,
                )  # fmt: skip


def _chunks(length: int) -> tuple[int, int]:
    """Steps in a chunk and number of chunks."""
    steps = max(1, math.isqrt(length))
    return steps, -(-length // steps)


def _carry_forward(added: Tensor, carry: Tensor) -> tuple[Tensor, Tensor]:
    """From what each chunk adds to a zero state and how it decays a state, the state each chunk starts with, and the last."""
    starts = torch.empty_like(added)
    state = torch.zeros_like(added[..., 0])
    for chunk in range(added.shape[-1]):
        starts[..., chunk] = state
        state = torch.addcmul(added[..., chunk], carry[..., chunk], state)
    return starts, state


def _carry_backward(added: Tensor, carry: Tensor) -> Tensor:
    """The same against the time: the gradient that arrives at each chunk's last state from the chunks behind it."""
    arriving = torch.empty_like(added)
    state = torch.zeros_like(added[..., 0])
    for chunk in reversed(range(added.shape[-1])):
        arriving[..., chunk] = state
        state = torch.addcmul(added[..., chunk], carry[..., chunk], state)
    return arriving
