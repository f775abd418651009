"""The selective scan for tests with long sequences: the same as reference.py, fast and small enough for autograd.

reference.py reads each step by its index, and the gradient of that is a whole map. test_scan.py compares the two.
"""

import torch


def definition(inputs, softplus):
    """The recurrence step by step, all directions at once. Steps are unbound first: indexing costs autograd L^2."""
    u, delta, A, B, C, D, delta_bias, positions, _ = inputs
    share = u.shape[1] // B.shape[2]
    visits = positions[:, None]
    step = delta + delta_bias[..., None]
    step = torch.nn.functional.softplus(step, threshold=1e9) if softplus else step
    u_t = u[:, None].expand_as(delta).gather(3, visits.expand_as(delta))
    step = step.gather(3, visits.expand_as(delta))
    B, C = (x.gather(4, visits[:, None].expand_as(x)).repeat_interleave(share, dim=2) for x in (B, C))
    # what does not depend on the state is computed for all steps at once, (steps, B, K, C, N)
    decay = torch.exp(step[..., None, :] * A[..., None]).movedim(-1, 0)
    drive = ((step * u_t)[..., None, :] * B).movedim(-1, 0)
    state, states = torch.zeros_like(B[..., 0]), []
    for decay_t, drive_t in zip(decay.unbind(), drive.unbind(), strict=True):
        state = torch.addcmul(drive_t, decay_t, state)
        states.append(state)
    y = (torch.stack(states, dim=-1) * C).sum(-2) + D[..., None] * u_t
    return torch.zeros_like(y).scatter(3, visits.expand_as(y), y).sum(1), state
