"""The selective scan for tests with long sequences: what reference.py says, in time and memory that autograd can bear.

reference.py reads every step by its index, whose gradient is a whole map each time. test_scan.py holds this one to it.
"""

import torch


def definition(u, delta, A, B, C, D, delta_bias, orders, softplus):
    """The recurrence step by step, all directions at once. Steps are unbound first: indexing costs autograd L^2."""
    share = u.shape[1] // B.shape[2]
    visits = orders[:, None]
    step = delta + delta_bias[..., None]
    step = torch.nn.functional.softplus(step, threshold=1e9) if softplus else step
    u_t = u[:, None].expand_as(delta).gather(3, visits.expand_as(delta))
    step = step.gather(3, visits.expand_as(delta))
    B, C = (x.gather(4, visits[:, None].expand_as(x)).repeat_interleave(share, dim=2) for x in (B, C))
    # what does not depend on the state is computed for all steps at once, (steps, B, K, C, N)
    decay, drive = (
        (x.movedim(-1, 0)) for x in (torch.exp(step[..., None, :] * A[..., None]), (step * u_t)[..., None, :] * B)
    )
    state, states = torch.zeros_like(B[..., 0]), []
    for decay_t, drive_t in zip(decay.unbind(), drive.unbind(), strict=True):
        state = torch.addcmul(drive_t, decay_t, state)
        states.append(state)
    y = (torch.stack(states, dim=-1) * C).sum(-2) + D[..., None] * u_t
    return torch.zeros_like(y).scatter(3, visits.expand_as(y), y).sum(1), state
