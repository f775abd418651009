"""Norms of channels-last maps."""

import pytest
import torch
from torch import nn

from nnunet_mamba.blocks.norm import InstanceNorm2d


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_instance_norm_is_torchs_in_double(images, layout):
    """Also where what follows hands its gradient over channels last."""
    torch.manual_seed(0)
    norm = InstanceNorm2d(16)
    nn.init.uniform_(norm.weight)
    exact = nn.InstanceNorm2d(16, affine=True).double()
    exact.load_state_dict(norm.state_dict())
    x = torch.randn(images, 16, 8, 8).contiguous(memory_format=layout).requires_grad_()
    x64 = x.detach().double().contiguous().requires_grad_()
    grad = torch.randn(images, 16, 8, 8)
    output = norm(x)
    output.relu().backward(grad)
    exact(x64).relu().backward(grad.double())
    assert output.is_contiguous(memory_format=layout)
    torch.testing.assert_close(output.double(), exact(x64), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(x.grad.double(), x64.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.weight.grad.double(), exact.weight.grad, rtol=1e-4, atol=1e-4)
