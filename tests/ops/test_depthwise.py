"""Depthwise convolutions and all their gradients against torch's in float64; who gets our kernel and who torch's."""

import pytest
import torch
from torch.nn.functional import conv2d as torchs_conv2d
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip("numba")

from nnunet_mamba.ops import depthwise
from nnunet_mamba.ops.depthwise import conv2d
from nnunet_mamba.ops.engines import VARIABLE

# (B, C, H, W), (h, w), dilation, whether its weight gradient is ours
CASES = [
    ((2, 16, 20, 24), (7, 7), 2, True),
    ((1, 4, 9, 13), (9, 9), 1, True),  # a row ends within a vector
    ((2, 2, 7, 5), (3, 3), 1, True),  # and is shorter than one
    ((2, 8, 3, 2), (3, 3), 3, True),  # no tap but the middle one meets the map
    ((1, 16, 1, 1), (7, 7), 1, False),  # channels last and first at the same time
    ((1, 16, 1, 2), (7, 7), 1, True),
    ((3, 20, 33, 5), (3, 3), 1, True),  # the second vector has four channels that the first has not
    ((2, 40, 17, 6), (1, 7), 2, True),
    ((1, 64, 40, 11), (7, 1), 1, True),
    ((2, 4, 40, 12), (1, 1), 1, True),
    ((2, 8, 21, 17), (5, 7), 3, True),  # wide and dilated: the convolution is ours, too
    ((1, 48, 18, 7), (1, 5), 2, True),
    ((2, 2, 1, 3), (5, 5), 2, True),
    ((2, 12, 9, 8), (3, 3), 1, False),
    ((2, 1, 9, 8), (3, 3), 1, False),
]


def reach_of(kernel_size, dilation):
    return tuple(dilation * (length // 2) for length in kernel_size)


def case(shape, kernel_size):
    """x, weight, bias and the gradient of the output, in float64."""
    channels = shape[1]
    sizes = shape, (channels, 1, *kernel_size), (channels,), shape
    return [torch.randn(size, dtype=torch.float64) for size in sizes]


def channels_last(x):
    return x.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def ours(monkeypatch):
    """Grows with each call of our kernel."""
    calls = []
    kernel = depthwise.weight_gradient
    monkeypatch.setattr(depthwise, "weight_gradient", lambda *arguments: calls.append(1) or kernel(*arguments))
    return calls


@pytest.mark.parametrize("shape, kernel_size, dilation, is_ours", CASES, ids=str)
def test_gradients(shape, kernel_size, dilation, is_ours, ours):
    x, weight, bias, grad = case(shape, kernel_size)
    exact = [t.clone().requires_grad_() for t in (x, weight, bias)]
    wanted = torchs_conv2d(*exact, 1, reach_of(kernel_size, dilation), dilation, shape[1])
    inputs = [t.float().requires_grad_() for t in (channels_last(x), weight, bias)]
    y = conv2d(*inputs, reach_of(kernel_size, dilation), dilation, shape[1])
    torch.testing.assert_close(y.double(), wanted, rtol=0, atol=1e-6 * wanted.abs().max().item())
    gradients = torch.autograd.grad(y, inputs, grad.float())
    for got, want in zip(gradients, torch.autograd.grad(wanted, exact, grad), strict=True):
        torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-6 * want.abs().max().item())
    assert bool(ours) is is_ours


LAYOUTS = {
    "some of the channels": lambda x: channels_last(torch.cat([x, x + 1, x - 1], 1))[:, 8:16],
    "every second row": lambda x: channels_last(x.repeat_interleave(2, 2))[:, :, ::2],
    "one image for all": lambda x: channels_last(x)[:1].expand_as(x),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_maps_of_any_layout(layout, ours):
    x, weight, bias, _ = case((2, 8, 9, 7), (3, 5))
    x, weight, bias = LAYOUTS[layout](x.float()).requires_grad_(), weight.float().requires_grad_(), bias.float()
    gradients = torch.autograd.grad(conv2d(x, weight, bias, (1, 2), 1, 8).square().sum(), [x, weight])
    wanted = torch.autograd.grad(torchs_conv2d(x, weight, bias, 1, (1, 2), 1, 8).square().sum(), [x, weight])
    torch.testing.assert_close(gradients, wanted, rtol=1e-5, atol=1e-4)
    assert ours


GRADS = {
    "channels first": lambda x: torch.randn(x.shape),
    "constant": lambda x: torch.ones(()).expand_as(x),
    "some of the channels": lambda x: channels_last(torch.randn(2, 24, 9, 7))[:, 8:16],
}


@pytest.mark.parametrize("layout", GRADS)
def test_gradients_of_any_layout(layout, ours):
    x, weight, bias, _ = case((2, 8, 9, 7), (3, 5))
    inputs = [t.float().requires_grad_() for t in (channels_last(x), weight, bias)]
    grad = GRADS[layout](x)
    gradients = torch.autograd.grad(conv2d(*inputs, (1, 2), 1, 8), inputs, grad)
    wanted = torch.autograd.grad(torchs_conv2d(*inputs, 1, (1, 2), 1, 8), inputs, grad)
    torch.testing.assert_close(gradients, wanted, rtol=1e-5, atol=1e-4)
    assert ours


@pytest.mark.parametrize("wanted", [(0,), (1,), (0, 2), (1, 2)], ids=str)
def test_only_the_gradients_that_are_asked_for(wanted):
    x, weight, bias, grad = case((2, 8, 9, 7), (3, 3))
    inputs = [t.float() for t in (channels_last(x), weight, bias)]
    asked = [inputs[i].requires_grad_() for i in wanted]
    gradients = torch.autograd.grad(conv2d(*inputs, (1, 1), 1, 8), asked, grad.float())
    torch.testing.assert_close(
        gradients, torch.autograd.grad(torchs_conv2d(*inputs, 1, 1, 1, 8), asked, grad.float()), rtol=1e-5, atol=1e-4
    )


def test_without_a_bias(ours):
    x, weight, _, grad = case((2, 8, 9, 7), (3, 3))
    inputs = [t.float().requires_grad_() for t in (channels_last(x), weight)]
    gradients = torch.autograd.grad(conv2d(*inputs, None, (1, 1), 1, 8), inputs, grad.float())
    wanted = torch.autograd.grad(torchs_conv2d(*inputs, None, 1, 1, 1, 8), inputs, grad.float())
    torch.testing.assert_close(gradients, wanted, rtol=1e-5, atol=1e-4)
    assert ours


def test_wide_and_dilated_convolutions_are_ours(monkeypatch):
    """Both ways: a third convolution, of the gradient of the map, is the backward's."""
    calls = []
    kernel = depthwise.convolution
    monkeypatch.setattr(depthwise, "convolution", lambda *arguments: calls.append(1) or kernel(*arguments))
    x, weight, bias, _ = case((2, 8, 9, 7), (5, 5))
    x, weight, bias = channels_last(x.float()).requires_grad_(), weight.float(), bias.float()
    conv2d(x, weight, bias, (4, 4), 2, 8).sum().backward()
    with torch.inference_mode():
        y = conv2d(x, weight, bias, (4, 4), 2, 8)
    assert len(calls) == 3
    torch.testing.assert_close(y, torchs_conv2d(x, weight, bias, 1, 4, 2, 8).detach(), rtol=1e-5, atol=1e-5)
    conv2d(x, weight, bias, (2, 2), 1, 8)
    assert len(calls) == 3


def test_channels_that_would_be_written_past_their_end():
    x, weight, _, grad = (t.float() for t in case((1, 12, 5, 5), (3, 3)))
    with pytest.raises(ValueError, match="got 12 channels, wanted a divisor or a multiple of 16"):
        depthwise.convolution(x, weight, None, 1)
    with pytest.raises(ValueError, match="got 12 channels, wanted a divisor of 16 or more"):
        depthwise.weight_gradient(x, grad, (3, 3), 1)


def test_threads_agree_to_the_last_bit():
    x, weight, _, grad = case((3, 8, 50, 13), (5, 5))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(depthwise.weight_gradient(x.float(), grad.float(), (5, 5), 1))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


def test_many_small_terms_keep_their_digits():
    """Each tap sums 150 000 products; a plain float32 sum of them loses 3 digits."""
    ones = channels_last(torch.full((3, 4, 200, 250), 0.1))
    _, bias = depthwise.weight_gradient(ones, ones, (1, 1), 1)
    torch.testing.assert_close(bias, torch.full((4,), 15000.0), rtol=2e-6, atol=0)


def test_second_derivatives():
    x, weight, bias, _ = case((2, 4, 5, 6), (3, 3))
    exact = [t.clone().requires_grad_() for t in (x, weight, bias)]
    inputs = [t.float().requires_grad_() for t in (channels_last(x), weight, bias)]
    seconds = []
    for y, leaves in ((torchs_conv2d(*exact, 1, 1, 1, 4), exact), (conv2d(*inputs, (1, 1), 1, 4), inputs)):
        first = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
        seconds.append(torch.autograd.grad(sum(g.square().sum() for g in first), leaves))
    for want, got in zip(*seconds, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-5 * want.abs().max().item())


def loss(x, weight, bias, run=conv2d):
    return run(x, weight, bias, (1, 1), 1, 4).float().square().sum()


def autocast(x, weight, bias):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = loss(x, weight, bias)
    return torch.autograd.grad(y, weight)[0]


def counted(x, weight, bias):
    counts = []
    for run in (lambda x, w, b, *_: torchs_conv2d(x, w, b, 1, 1, 1, 4), conv2d):
        with FlopCounterMode(display=False) as counter:
            gradient = torch.autograd.grad(loss(x, weight, bias, run), weight)[0]
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0
    return gradient


def compiled(x, weight, bias):
    run = torch.compile(conv2d, fullgraph=True, backend="aot_eager")
    return torch.autograd.grad(loss(x, weight, bias, run), weight)[0]


def traced(x, weight, bias):
    run = torch.jit.trace(lambda *inputs: conv2d(*inputs, (1, 1), 1, 4), (x, weight, bias))
    return torch.autograd.grad(run(x, weight, bias).square().sum(), weight)[0]


def per_image(x, weight, bias):
    """The gradients of each image, one call for all."""
    return torch.func.vmap(lambda x: torch.func.grad(loss, 1)(x[None], weight, bias))(x).sum(0)


WAYS = [autocast, counted, compiled, traced, per_image]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_what_torch_follows_is_torchs(way, ours):
    x, weight, bias, _ = case((2, 4, 9, 7), (3, 3))
    inputs = [t.float().requires_grad_() for t in (channels_last(x), weight, bias)]
    gradient = way(*inputs)
    assert not ours
    wanted = torch.autograd.grad(loss(*inputs), inputs[1])[0]
    assert ours
    close = 0.02 if way is autocast else 1e-5
    torch.testing.assert_close(gradient, wanted, rtol=0, atol=close * wanted.abs().max().item())


def test_another_engine_leaves_convolutions_to_torch(ours, monkeypatch):
    monkeypatch.setenv(VARIABLE, "torch")
    x, weight, bias, _ = case((2, 4, 9, 7), (3, 3))
    loss(channels_last(x.float()).requires_grad_(), weight.float(), bias.float()).backward()
    assert not ours
