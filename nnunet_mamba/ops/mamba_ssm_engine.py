"""mamba-ssm's CUDA kernel (Gu and Dao 2023) as an engine. It knows no orders: maps are gathered before and after it."""

import selective_scan_cuda
from torch import Tensor

from nnunet_mamba.ops.engines import ScanInputs, Sizes

KERNELS_CHUNK = 2048  # steps between the states that its forward keeps for its backward


def checkpoint_shape(sizes: Sizes) -> tuple[int, ...]:
    """As its forward returns them: pairs of a decay and a state."""
    return sizes.batch, sizes.directions * sizes.channels, -(-sizes.length // KERNELS_CHUNK), 2 * sizes.states


def scan_forward(inputs: ScanInputs, delta_softplus: bool, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    """See ScanEngine. The checkpoints are the kernel's own."""
    arguments = _in_visiting_order(inputs)
    visited, checkpoints, *_ = selective_scan_cuda.fwd(*arguments[:6], None, arguments[6], delta_softplus)
    last_state = checkpoints[:, :, -1, 1::2].reshape(*inputs.delta.shape[:3], inputs.A.shape[2])
    y = _gather(visited.view_as(inputs.delta), inputs.steps).sum(1)
    return y, last_state.contiguous(), checkpoints if keep else checkpoints.new_empty(0)


def scan_backward(
    grad_output: Tensor, inputs: ScanInputs, delta_softplus: bool, checkpoints: Tensor
) -> tuple[Tensor, ...]:
    """See ScanEngine."""
    _, delta, A, B, _, D, delta_bias, positions, steps = inputs
    arguments = _in_visiting_order(inputs)
    grad = _gather(grad_output[:, None].expand_as(delta), positions).flatten(1, 2)
    du, ddelta, dA, dB, dC, dD, dbias, *_ = selective_scan_cuda.bwd(
        *arguments[:6], None, arguments[6], grad, checkpoints, None, None, delta_softplus, False
    )
    du, ddelta = (_gather(x.view_as(delta), steps) for x in (du, ddelta))
    dB, dC = (_gather(x.view_as(B).flatten(2, 3), steps).view_as(B) for x in (dB, dC))
    return du.sum(1), ddelta, dA.view_as(A), dB, dC, dD.view_as(D), dbias.view_as(delta_bias)


def _in_visiting_order(inputs: ScanInputs) -> tuple[Tensor, ...]:
    """The kernel's arguments. One axis holds directions times channels, or directions times groups."""
    u, delta, A, B, C, D, delta_bias, positions, _ = inputs
    u = _gather(u[:, None].expand_as(delta), positions).flatten(1, 2)
    delta = _gather(delta, positions).flatten(1, 2)
    B, C = (_gather(x.flatten(2, 3), positions).view_as(x).flatten(1, 2) for x in (B, C))
    return u, delta, A.flatten(0, 1), B, C, D.flatten(), delta_bias.flatten()


def _gather(maps: Tensor, indices: Tensor) -> Tensor:
    """(B, K, X, L) by indices (K, L): `positions` gives visiting order, `steps` gives spatial order back."""
    return maps.gather(3, indices[:, None].expand_as(maps))
