"""The scan that projects its own delta, B and C: fused or apart, the same result and gradients."""

import pytest
import torch

pytest.importorskip("numba")

from nnunet_mamba.ops import cross_scan_orders, directional_scan, projected_scan
from nnunet_mamba.ops.engines import ProjectedInputs
from nnunet_mamba.ops.projected import separate_projections

HEIGHT, WIDTH, STATES, RANK = 7, 9, 6, 2
ORDERS = cross_scan_orders(HEIGHT, WIDTH, torch.device("cpu"))


def arguments(channels: int, batch: int = 3, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    draw = [
        torch.randn(batch, channels, HEIGHT * WIDTH, generator=generator),
        torch.randn(4, RANK + 2 * STATES, channels, generator=generator) / channels,
        torch.randn(4, channels, RANK, generator=generator) / RANK,
        -torch.rand(4, channels, STATES, generator=generator) - 0.1,
        torch.randn(4, channels, generator=generator),
        torch.randn(4, channels, generator=generator) - 2,
    ]
    return tuple(x.to(dtype).requires_grad_() for x in draw)


def with_gradients(tensors, engine=None):
    y = projected_scan(*tensors, ORDERS, engine=engine)
    return y.detach(), *torch.autograd.grad((y * torch.linspace(0, 1, y.shape[-1])).sum(), tensors)


@pytest.fixture
def fused(monkeypatch):
    """Numbers of channels of the fused scans."""
    from nnunet_mamba.ops import operator

    seen, scan = [], operator.scan

    def watch(inputs, *rest):
        if isinstance(inputs, ProjectedInputs):
            seen.append(inputs.u.shape[1])
        return scan(inputs, *rest)

    monkeypatch.setattr(operator, "scan", watch)
    return seen


@pytest.mark.parametrize("channels", [8, 16, 17])
def test_fused_equals_apart(channels, fused):
    tensors = arguments(channels)
    got = with_gradients(tensors)
    assert fused == ([channels] if channels <= 16 else [])
    with separate_projections():
        wanted = with_gradients(tensors)
    assert len(fused) == (channels <= 16)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    again = with_gradients(tensors)
    assert all(torch.equal(x, y) for x, y in zip(got, again, strict=True)) and len(fused) == 2 * (channels <= 16)


def test_apart_is_the_directional_scan(fused):
    u, x_proj, dt_proj, *others = arguments(8)
    dt, B, C = torch.einsum("kod,bdl->bkol", x_proj, u).split([RANK, STATES, STATES], dim=2)
    delta = torch.einsum("kcr,bkrl->bkcl", dt_proj, dt)
    A, D, bias = others
    wanted = directional_scan(u, delta, A, B, C, D, bias, ORDERS, engine="torch")
    for engine in ("torch", "reference"):
        got = projected_scan(u, x_proj, dt_proj, *others, ORDERS, engine=engine)
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    assert not fused


def test_half_precision_is_computed_in_float32_and_float64_stays(fused):
    wanted = projected_scan(*arguments(8), ORDERS)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(projected_scan(*arguments(8), ORDERS), wanted)
    assert projected_scan(*arguments(8, dtype=torch.bfloat16), ORDERS).dtype == torch.float32
    exact = projected_scan(*arguments(8, dtype=torch.float64), ORDERS)
    assert exact.dtype == torch.float64 and len(fused) == 3
    torch.testing.assert_close(exact.float(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("transform", [torch.func.grad, torch.compile], ids=["torch.func", "compiled"])
def test_under_transforms(transform):
    def total(u, *rest):
        return (projected_scan(u, *rest, ORDERS) * torch.linspace(0, 1, HEIGHT * WIDTH)).sum()

    tensors = tuple(x.detach() for x in arguments(8))
    if transform is torch.compile:
        got, wanted = torch.compile(total, backend="aot_eager", fullgraph=True)(*tensors), total(*tensors)
    else:
        got, wanted = transform(total)(*tensors), with_gradients(arguments(8))[1]
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [2, 3])
def test_the_operator_is_registered_correctly(batch):
    u, x_proj, dt_proj, A, D, bias = arguments(8, batch)
    weights = torch.bmm(dt_proj, x_proj[:, :RANK]), *x_proj[:, RANK:].split(STATES, dim=1)
    tensors = [x.detach().contiguous().requires_grad_() for x in (u, *weights, A, D, bias)]
    operator = torch.ops.nnunet_mamba.projected_scan.default
    torch.library.opcheck(operator, (*tensors, ORDERS.positions, ORDERS.steps, True, "cpu", True))


def test_wrong_arguments_are_refused():
    u, *weights = arguments(8)
    with pytest.raises(ValueError, match=r"orders: got \(4, 63\) on cpu, wanted \(4, 62\) on cpu"):
        projected_scan(u[..., :62], *weights, ORDERS)
    with pytest.raises(ValueError, match=r"dt_proj_weight: got shape \(4, 8, 2\), wanted \(4, 9, any\)"):
        projected_scan(*arguments(9)[:1], *weights, ORDERS)
    with pytest.raises(ValueError, match="engine: got 'fast'"):
        projected_scan(u, *weights, ORDERS, engine="fast")
