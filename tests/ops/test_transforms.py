"""torch.func on the scan, derivatives that it does not have, and tensor subclasses at its front doors."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import grad, hessian, jvp, vmap

from nnunet_mamba.ops import directional_scan, selective_scan
from nnunet_mamba.ops.scan_orders import identity_order

pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")  # vmap's loop over the operator


class Noted(torch.Tensor):
    """Carries notes along, like MONAI's MetaTensor."""

    notes = "kept"


def inputs(batch=2):
    u, delta = torch.randn(batch, 4, 20), torch.rand(batch, 4, 20)
    B, C = torch.randn(2, batch, 2, 3, 20)
    return u, delta, -torch.rand(4, 3), B, C


def squares(*tensors, **options):
    return selective_scan(*tensors, **options).square().sum()


def gradient(tensors):
    leaves = [x.clone().requires_grad_() for x in tensors]
    return torch.autograd.grad(squares(*leaves), leaves)


def test_torch_func_grad_is_autograd_s():
    tensors = inputs()
    for got, wanted in zip(grad(squares, tuple(range(5)))(*tensors), gradient(tensors), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_gradients_per_sample():
    u, delta, A, B, C = inputs()

    def of_one(A, u, delta, B, C):
        return squares(u[None], delta[None], A, B[None], C[None])

    got = vmap(grad(of_one), (None, 0, 0, 0, 0))(A, u, delta, B, C)
    for sample, value in enumerate(got):
        one = [x[sample : sample + 1] for x in (u, delta, B, C)]
        torch.testing.assert_close(value, gradient([one[0], one[1], A, one[2], one[3]])[2])


def forward_mode(u, *others):
    with forward_ad.dual_level():
        return squares(forward_ad.make_dual(u, u), *others)


@pytest.mark.parametrize(
    ("derivative", "message"),
    [
        (lambda u, *others: jvp(lambda u: squares(u, *others), (u,), (u,)), "has no forward-mode derivative: use"),
        (forward_mode, "has no forward-mode derivative: use"),
        (lambda u, *others: hessian(squares)(u, *others), "has no forward-mode derivative: use"),
        (lambda u, *others: grad(lambda u: grad(squares)(u, *others).sum())(u), "has no second derivative: use"),
    ],
    ids=["jvp", "dual numbers", "hessian", "grad of grad"],
)
def test_derivatives_it_does_not_have_are_refused(derivative, message):
    with pytest.raises(NotImplementedError, match=message):
        derivative(*inputs())


def test_second_derivatives_of_autograd_are_refused_except_by_the_reference():
    u, *others = inputs()
    u.requires_grad_()
    (first,) = torch.autograd.grad(squares(u, *others), u, create_graph=True)
    with pytest.raises(NotImplementedError, match="has no second derivative: use engine='reference'"):
        torch.autograd.grad(first.sum(), u)
    (first,) = torch.autograd.grad(squares(u, *others, engine="reference"), u, create_graph=True)
    assert torch.autograd.grad(first.sum(), u)[0].any()


def test_a_subclass_that_only_carries_notes_becomes_a_plain_tensor():
    tensors = inputs()
    noted = [x.clone().as_subclass(Noted).requires_grad_() for x in tensors]
    got, state = selective_scan(*noted, z=noted[0], return_last_state=True)
    wanted = selective_scan(*tensors, z=tensors[0])
    assert type(got) is type(state) is torch.Tensor
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    squares(*noted).backward()
    for x, value in zip(noted, gradient(tensors), strict=True):
        torch.testing.assert_close(x.grad.as_subclass(torch.Tensor), value, rtol=0, atol=0)


def test_directional_scan_takes_such_a_subclass():
    u, delta, A, B, C = inputs()
    ones = torch.ones(1, 4)
    arguments = u, delta[:, None], A[None], B[:, :1], C[:, :1], ones, ones
    orders = identity_order(20, u.device)
    got = directional_scan(*(x.as_subclass(Noted) for x in arguments), orders)
    assert type(got) is torch.Tensor
    torch.testing.assert_close(got, directional_scan(*arguments, orders), rtol=0, atol=0)
