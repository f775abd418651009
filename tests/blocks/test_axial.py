"""AxialConv's one kernel against the two convolutions that it stands for."""

import pytest
import torch

from nnunet_mamba.blocks.axial import AxialConv, separate_axes


@pytest.mark.parametrize("size", [(9, 12), (1, 1), (2, 5)])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_one_kernel_is_both_convolutions(size, kernel_size):
    torch.manual_seed(0)
    conv = AxialConv(3, kernel_size).double()
    x, grad = torch.randn(2, 2, 3, *size, dtype=torch.float64)
    x.requires_grad_()

    def result():
        y = conv(x)
        return [y, *torch.autograd.grad(y, [x, *conv.parameters()], grad)]

    as_one = result()
    with separate_axes():
        torch.testing.assert_close(as_one, result())


def test_half_precision_keeps_the_digits_of_small_weights():
    """1 + 2^-10 is 1 in bfloat16: the one of the residual must not be part of the kernel."""
    conv = AxialConv(2)
    for parameter in conv.parameters():
        torch.nn.init.constant_(parameter, 0)
    torch.nn.init.constant_(conv.vertical.weight, 2**-10)
    x = torch.ones(1, 2, 5, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        change = conv(x) - x
    torch.testing.assert_close(change[0, 0, :, 0] * 2**10, torch.tensor([2.0, 3, 3, 3, 2]))
