"""The definition that engines are tested against: the selective scan of Mamba (Gu and Dao 2023, algorithm 2)."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from nnunet_mamba.ops.engines import ScanInputs


def scan(inputs: ScanInputs, delta_softplus: bool) -> tuple[Tensor, Tensor]:
    """One step after the other, in the inputs' own precision, differentiable by autograd.

    Returns:
        The sum over directions (B, C, L), and the states after the last step (B, K, C, N).
    """
    u, delta, A, B, C, D, delta_bias, positions, _ = inputs
    batch, channels, _ = u.shape
    directions, _, states = A.shape
    share = channels // B.shape[2]
    step = delta + delta_bias[None, :, :, None]
    if delta_softplus:
        step = softplus(step)
    output = torch.zeros_like(u)
    last_states = []
    for k in range(directions):
        state = u.new_zeros(batch, channels, states)
        visited = []
        for position in positions[k].tolist():
            decay = torch.exp(step[:, k, :, position, None] * A[k])
            B_t = B[:, k, :, :, position].repeat_interleave(share, dim=1)
            C_t = C[:, k, :, :, position].repeat_interleave(share, dim=1)
            u_t = u[:, :, position]
            state = decay * state + (step[:, k, :, position] * u_t)[..., None] * B_t
            visited.append((state * C_t).sum(-1) + D[k] * u_t)
        output = output.index_add(2, positions[k], torch.stack(visited, dim=2))
        last_states.append(state)
    return output, torch.stack(last_states, dim=1)
