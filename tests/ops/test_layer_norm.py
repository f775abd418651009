"""Layer norms over few channels and all their gradients against torch in float64; which are ours and which torch's."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip("numba")

from nnunet_mamba.ops import layer_norm as module
from nnunet_mamba.ops.engines import VARIABLE
from nnunet_mamba.ops.layer_norm import UNIT, layer_norm

# the last axis has the channels; sizes that fill vectors, that do not, and that are more than a unit of work
OURS = [(1, 2), (3, 5, 4), (7, 8), (1, 16), (2, 3, 16), (2, 50, 40, 4), (UNIT // 8 + 1, 8)]
TORCHS = [(5, 6), (5, 3), (4, 6), (2, 3, 24), (2, 32), (0, 4)]


def by_torch(x, weight, bias, eps=1e-5):
    return torch.nn.functional.layer_norm(x, weight.shape, weight, bias, eps)


def case(shape):
    return [2 * torch.randn(shape) + 1, torch.randn(shape[-1]), torch.randn(shape[-1])]


def with_gradients(function, tensors, grad):
    leaves = [x.detach().requires_grad_() for x in tensors]
    y = function(*leaves)
    return y.detach(), *torch.autograd.grad(y, leaves, grad.to(y.dtype))


@pytest.fixture
def ours(monkeypatch):
    """The names of our kernels that ran."""
    calls, run = [], module._run
    monkeypatch.setattr(
        module, "_run", lambda kernel, *rest, **options: calls.append(kernel) or run(kernel, *rest, **options)
    )
    return calls


@pytest.mark.parametrize("shape", OURS + TORCHS, ids=str)
def test_output_and_gradients(shape, ours):
    tensors, grad = case(shape), torch.randn(shape)
    got = with_gradients(layer_norm, tensors, grad)
    for mine, exact in zip(got, with_gradients(by_torch, [x.double() for x in tensors], grad), strict=True):
        scale = max([1.0, *exact.abs().flatten().tolist()])
        torch.testing.assert_close(mine.double(), exact, rtol=1e-5, atol=2e-6 * scale)
    assert ours == (["normalise", "normalise_back"] if shape in OURS else [])


def test_maps_and_gradients_of_any_layout(ours):
    x, weight, bias = case((3, 5, 4))
    for map_, grad in ((x.mT.contiguous().mT, torch.ones(()).expand(x.shape)), (x[:1].expand_as(x), x.mT.clone().mT)):
        tensors = map_, weight, bias
        torch.testing.assert_close(
            *(with_gradients(f, tensors, grad) for f in (layer_norm, by_torch)), rtol=1e-4, atol=1e-5
        )
    assert len(ours) == 4


def test_extremes():
    """Constant positions have no deviation; large ones lose no more than torch's; what is not a number stays so."""
    x, weight, bias = case((6, 4))
    x[0], x[1], x[2, 0] = 3, torch.tensor([1e15, -1e15, 1e15, 0]), float("nan")
    got, wanted = layer_norm(x, weight, bias), by_torch(x, weight, bias)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert torch.equal(got.isnan().any(1), torch.arange(6) == 2)


def test_only_some_gradients_and_none(ours):
    x, weight, bias = case((9, 8))
    with torch.inference_mode():
        torch.testing.assert_close(layer_norm(x, weight, bias), by_torch(x, weight, bias), rtol=1e-5, atol=1e-5)
    weight.requires_grad_()
    got, wanted = (torch.autograd.grad(f(x, weight, bias).square().sum(), weight) for f in (layer_norm, by_torch))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    assert len(ours) == 3


def test_threads_agree_to_the_last_bit():
    tensors, before, results = case((5 * UNIT // 16, 16)), torch.get_num_threads(), []
    grad = torch.randn_like(tensors[0])
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(with_gradients(layer_norm, tensors, grad))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


def test_second_derivatives():
    seconds = []
    tensors = case((3, 4))
    for function in (layer_norm, by_torch):
        leaves = [x.detach().requires_grad_() for x in tensors]
        first = torch.autograd.grad(function(*leaves).square().sum(), leaves, create_graph=True)
        seconds.append(torch.autograd.grad(sum(g.square().sum() for g in first), leaves))
    torch.testing.assert_close(*seconds, rtol=1e-3, atol=1e-3)


def autocast(function, tensors):
    with torch.autocast("cpu", torch.bfloat16):
        return function(*tensors)


def counted(function, tensors):
    with FlopCounterMode(display=False):
        return function(*tensors)


WAYS = {
    "autocast": autocast,
    "counted": counted,
    "torch.func": lambda f, tensors: torch.func.grad(lambda x: f(x, *tensors[1:]).square().sum())(tensors[0]),
    "compiled": lambda f, tensors: torch.compile(f, backend="aot_eager", fullgraph=True)(*tensors),
    "bfloat16": lambda f, tensors: f(*(x.bfloat16() for x in tensors)),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_torch_follows_or_computes_otherwise_is_torchs(way, ours):
    tensors = case((5, 8))
    got, wanted = (WAYS[way](f, tensors) for f in (layer_norm, by_torch))
    torch.testing.assert_close(got, wanted)
    assert not ours


def test_another_engine_is_asked_for(monkeypatch, ours):
    monkeypatch.setenv(VARIABLE, "reference")
    layer_norm(*case((5, 8)))
    assert not ours
