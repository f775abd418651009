"""selective_scan in the place of mamba_ssm's selective_scan_fn: the real-valued cells of mamba_ssm's own test table.

Each cell is compared with the formula in float64: output, last state and all gradients. --exhaustive runs all 1440
cells (two minutes) instead of a sample.
"""

from itertools import product

import pytest
import torch
from torch.nn.functional import silu, softplus

from nnunet_mamba.ops import selective_scan

BATCH, CHANNELS, STATES = 2, 4, 8
B_AND_C = [
    ("constant", "constant"),
    ("constant", "varying"),
    ("varying", "constant"),
    ("varying",) * 2,
    ("grouped",) * 2,
]
TYPES = [torch.float32, torch.float16, torch.bfloat16]
LENGTHS = [64, 372, 1134]
FLAGS = ("D", "z", "delta_bias", "delta_softplus", "return_last_state")
# in the sample each pair of types and of B and C comes once, with other flags
CELLS = list(product(TYPES, B_AND_C, product([False, True], repeat=len(FLAGS)), LENGTHS))
SAMPLE = [
    (dtype, kinds, tuple(bool((7 * row + 11) >> bit & 1) for bit in range(len(FLAGS))), LENGTHS[0])
    for row, (dtype, kinds) in enumerate(product(TYPES, B_AND_C))
]
# the relative error that counts as equal: of sums in float32, and of a rounding to half precision
EQUAL = {torch.float32: 1e-5, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def shape_of(kind, length):
    return {
        "constant": (CHANNELS, STATES),
        "varying": (BATCH, STATES, length),
        "grouped": (BATCH, 2, STATES, length),
    }[kind]


def cell(dtype, kinds, flags, length):
    """The tensors of a cell, drawn like mamba_ssm's: maps in `dtype`, weights in float32; and the two other flags."""
    draw = torch.Generator().manual_seed(0)
    shape = BATCH, CHANNELS, length

    def normal(*shape, dtype=torch.float32):
        return torch.randn(shape, generator=draw).to(dtype)

    def uniform(*shape, dtype=torch.float32):
        return (0.5 * torch.rand(shape, generator=draw)).to(dtype)

    tensors = {"u": normal(*shape, dtype=dtype), "delta": uniform(*shape, dtype=dtype)}
    tensors["A"] = -uniform(CHANNELS, STATES)
    for name, kind in zip("BC", kinds):
        tensors[name] = normal(*shape_of(kind, length), dtype=torch.float32 if kind == "constant" else dtype)
    others = {"D": normal(CHANNELS), "z": normal(*shape, dtype=dtype), "delta_bias": uniform(CHANNELS)}
    wanted = dict(zip(FLAGS, flags))
    tensors |= {name: x for name, x in others.items() if wanted[name]}
    return tensors, wanted["delta_softplus"], wanted["return_last_state"]


def formula(dtype, delta_softplus, u, delta, A, B, C, D=None, z=None, delta_bias=None):
    """Output and last state, step after step in `dtype`. In float32 this is mamba_ssm's reference formula."""
    u_, delta, A, B, C = (x.to(dtype) for x in (u, delta, A, B, C))
    if delta_bias is not None:
        delta = delta + delta_bias[:, None].to(dtype)
    if delta_softplus:
        delta = softplus(delta)
    B, C = (x[None, :, :, None] if x.dim() == 2 else x if x.dim() == 4 else x[:, None] for x in (B, C))
    B, C = (x.repeat_interleave(CHANNELS // x.shape[1], dim=1) for x in (B, C))  # (B or 1, D, N, L or 1)
    decay = torch.exp(delta[:, :, None] * A[..., None])
    drive = (delta * u_)[:, :, None] * B
    state, states = torch.zeros_like(decay[..., 0]), []
    for decay_t, drive_t in zip(decay.unbind(-1), drive.unbind(-1)):
        state = decay_t * state + drive_t
        states.append(state)
    y = (torch.stack(states, dim=-1) * C).sum(2)
    if D is not None:
        y = y + u_ * D[:, None].to(dtype)
    if z is not None:
        y = y * silu(z if dtype == torch.float32 else z.to(dtype))
    return (y if dtype == torch.float64 else y.to(u.dtype)), state


def results(scan, tensors, cotangent):
    """Output, last state and the gradients of the output in the direction of `cotangent`."""
    leaves = {name: x.clone().requires_grad_() for name, x in tensors.items()}
    y, state = scan(**leaves)
    gradients = torch.autograd.grad(y, list(leaves.values()), cotangent.to(y.dtype))
    return {"output": y.detach(), "last state": state, **dict(zip(leaves, gradients))}


def error(got, exact):
    return ((got.double() - exact).norm() / exact.norm()).item()


REST = [pytest.param(*cell, marks=pytest.mark.exhaustive) for cell in CELLS if cell not in SAMPLE]


@pytest.mark.parametrize(("dtype", "kinds", "flags", "length"), [*SAMPLE, *REST], ids=str)
def test_a_cell_is_equal_to_float64_or_closer_than_mamba_ssm_s_formula(dtype, kinds, flags, length):
    tensors, delta_softplus, return_last_state = cell(dtype, kinds, flags, length)
    cotangent = torch.randn(BATCH, CHANNELS, length).to(dtype)

    def ours(**leaves):
        got = selective_scan(**leaves, delta_softplus=delta_softplus, return_last_state=return_last_state)
        return got if return_last_state else (got, None)

    got = results(ours, tensors, cotangent)
    doubles = {name: x.double() for name, x in tensors.items()}
    exact = results(lambda **x: formula(torch.float64, delta_softplus, **x), doubles, cotangent)
    theirs = results(lambda **x: formula(torch.float32, delta_softplus, **x), tensors, cotangent)
    assert got["output"].dtype == dtype
    assert all(got[name].dtype == tensors[name].dtype for name in tensors)
    if return_last_state:
        assert got["last state"].dtype == torch.float32 and not got["last state"].requires_grad
    else:
        del got["last state"]
    for name, value in got.items():
        allowed = max(EQUAL[value.dtype], error(theirs[name], exact[name]))
        assert error(value, exact[name]) <= allowed, name


@pytest.mark.parametrize("grouped_bias", [False, True])
def test_delta_in_groups_is_repeated_for_the_channels_of_a_group(grouped_bias):
    """VMamba's form. A group's gradients are the sums over its channels."""
    tensors, _, _ = cell(torch.float32, ("grouped",) * 2, (True, False, True, True, False), 20)
    cotangent = torch.randn(BATCH, CHANNELS, 20)
    in_groups = {"delta": tensors["delta"][:, ::2]}
    if grouped_bias:
        in_groups["delta_bias"] = tensors["delta_bias"][::2]
    repeated = {name: x.repeat_interleave(2, dim=x.dim() // 2) for name, x in in_groups.items()}
    got, wanted = (
        results(lambda **x: selective_scan(**x, return_last_state=True, delta_softplus=True), tensors | x, cotangent)
        for x in (in_groups, repeated)
    )
    for name, value in got.items():
        if name in in_groups:
            wanted[name] = wanted[name].unflatten(value.dim() // 2, (2, 2)).sum(value.dim() // 2 + 1)
        torch.testing.assert_close(value, wanted[name])
