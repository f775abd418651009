"""Gradients of dilated depthwise convolutions of channels-last maps."""

import pytest
import torch

from nnunet_mamba.blocks.grouped import GroupedConv2d


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("by_autocast", [False, True])
def test_gradients_in_every_type(dtype, by_autocast):
    torch.manual_seed(0)
    conv = GroupedConv2d(4, 4, 3, dilation=2, groups=4)
    x = torch.randn(2, 4, 32, 32).contiguous(memory_format=torch.channels_last)
    grad = torch.randn(2, 4, 32, 32)
    conv(x).backward(grad)
    wanted = conv.weight.grad
    conv.weight.grad = None
    if by_autocast:
        with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
            output = conv(x)
    else:
        output = conv.to(dtype)(x.to(dtype))
    output.backward(grad.to(output.dtype))
    torch.testing.assert_close(conv.weight.grad.float(), wanted, rtol=2e-2, atol=0.02 * wanted.abs().max().item())


def test_even_kernels_are_refused():
    with pytest.raises(ValueError, match=r"kernel_size: got \(3, 4\), wanted odd numbers"):
        GroupedConv2d(4, 4, (3, 4), groups=4)
