"""Products as convolutions equal torch's own, with all gradients."""

import pytest
import torch
from torch.func import grad
from torch.nn import functional

from nnunet_mamba.ops import products
from nnunet_mamba.ops.products import linear, project


@pytest.fixture(params=["as convolutions", "as products"], autouse=True)
def path(request, monkeypatch):
    """Each path in turn, whatever the sizes; the tests run on one thread, which takes products."""
    convolutions = request.param == "as convolutions"
    monkeypatch.setattr(products, "SMALLEST", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2 if convolutions else 1)
    return convolutions


def same(ours, theirs, *tensors):
    copies = [[x.clone().requires_grad_() for x in tensors] for _ in range(2)]
    mine, wanted = ours(*copies[0]), theirs(*copies[1])
    assert mine.shape == wanted.shape
    torch.testing.assert_close(mine, wanted)
    upstream = torch.randn_like(wanted)
    for one, other in zip(
        torch.autograd.grad(mine, copies[0], upstream), torch.autograd.grad(wanted, copies[1], upstream)
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (2, 9, 7), (4, 7), (7,), (1, 1, 1, 7)], ids=str)
@pytest.mark.parametrize("with_bias", [True, False])
def test_linear(shape, with_bias, dtype):
    tensors = torch.randn(shape, dtype=dtype), torch.randn(4, 7, dtype=dtype)
    same(linear, functional.linear, *tensors, *([torch.randn(4, dtype=dtype)] if with_bias else []))


def test_linear_of_a_map_in_another_layout():
    x = torch.randn(2, 7, 5, 3).permute(0, 2, 3, 1)[:, ::2]
    same(linear, functional.linear, x, torch.randn(4, 7))


@pytest.mark.parametrize("length", [1, 13])
def test_project(length):
    same(project, lambda weight, x: weight @ x, torch.randn(5, 3), torch.randn(2, 3, length))


def test_under_autocast_and_transforms():
    x, weight = torch.randn(3, 7), torch.randn(4, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(x, weight).dtype == torch.bfloat16
    slope = grad(lambda w: linear(x, w).square().sum())(weight)
    torch.testing.assert_close(slope, grad(lambda w: functional.linear(x, w).square().sum())(weight))


def test_large_products_are_convolutions(path):
    x = torch.randn(1, 2, 3, 7, requires_grad=True)
    names = set()
    node = linear(x, torch.randn(4, 7)).grad_fn
    while node is not None:
        names.add(type(node).__name__)
        node = next((parent for parent, _ in node.next_functions if parent is not None), None)
    assert ("ConvolutionBackward0" in names) == path
