"""mamba-ssm's CUDA kernel (Gu and Dao 2023) as an engine: it knows no orders, so maps are gathered around it."""

import selective_scan_cuda
import torch
from torch import Tensor

KERNELS_CHUNK = 2048  # steps between the states that its forward keeps for its backward


def checkpoint_shape(batch: int, directions: int, channels: int, states: int, length: int) -> tuple[int, ...]:
    """As its forward returns them: pairs of a decay and a state."""
    return batch, directions * channels, -(-length // KERNELS_CHUNK), 2 * states


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
    """Shapes as in reference.py, float32 and contiguous; returns output, last states and the kernel's checkpoints to `keep`."""
    arguments = _in_visiting_order(u, delta, A, B, C, D, delta_bias, orders)
    visited, checkpoints, *_ = selective_scan_cuda.fwd(*arguments[:6], None, arguments[6], delta_softplus)
    last_state = checkpoints[:, :, -1, 1::2].reshape(*delta.shape[:3], A.shape[2])
    y = _in_place(visited.view_as(delta), orders).sum(1)
    return y, last_state.contiguous(), checkpoints if keep else checkpoints.new_empty(0)


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
    checkpoints: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients to u, delta, A, B, C, D and delta_bias."""
    arguments = _in_visiting_order(u, delta, A, B, C, D, delta_bias, orders)
    grad = _gather(grad_output[:, None].expand_as(delta), orders).flatten(1, 2)
    du, ddelta, dA, dB, dC, dD, dbias, *_ = selective_scan_cuda.bwd(
        *arguments[:6], None, arguments[6], grad, checkpoints, None, None, delta_softplus, False
    )
    du, ddelta = (_in_place(x.view_as(delta), orders) for x in (du, ddelta))
    dB, dC = (_in_place(x.view_as(B).flatten(2, 3), orders).view_as(B) for x in (dB, dC))
    return du.sum(1), ddelta, dA.view_as(A), dB, dC, dD.view_as(D), dbias.view_as(delta_bias)


def _in_visiting_order(u, delta, A, B, C, D, delta_bias, orders) -> tuple[Tensor, ...]:
    """The kernel's arguments: directions times channels in one axis, directions times groups in the other."""
    u = _gather(u[:, None].expand_as(delta), orders).flatten(1, 2)
    delta = _gather(delta, orders).flatten(1, 2)
    B, C = (_gather(x.flatten(2, 3), orders).view_as(x).flatten(1, 2) for x in (B, C))
    return u, delta, A.flatten(0, 1), B, C, D.flatten(), delta_bias.flatten()


def _gather(maps: Tensor, orders: Tensor) -> Tensor:
    """(B, K, X, L) in spatial order -> in visiting order."""
    return maps.gather(3, orders[:, None].expand_as(maps))


def _in_place(visited: Tensor, orders: Tensor) -> Tensor:
    """(B, K, X, L) in visiting order -> in spatial order."""
    return torch.empty_like(visited).scatter_(3, orders[:, None].expand_as(visited), visited)
