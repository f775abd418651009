"""The networks outside nnU-Net: what importing them loads, MONAI's tensors and losses, half precision."""

import subprocess
import sys
from functools import partial

import pytest
import torch

from nnunet_mamba.networks import DAMambaNet, DermoMamba, SliceMamba

SMALL = {"dims": (16, 32, 64, 128), "depths": (1,) * 4, "depths_decoder": (1,) * 4}
NETWORKS = {
    "DA-MambaNet": partial(DAMambaNet, 3, 2, (32, 48)),
    "DermoMamba": partial(DermoMamba, 3, 2, (32, 48), deep_supervision=True),
    "SliceMamba": partial(SliceMamba, 3, 2, **SMALL),
}
HALF = [torch.float16, torch.bfloat16]


def outputs(network, x):
    y = network(x)
    return y if isinstance(y, list) else [y]


def test_importing_the_networks_loads_neither_nnunet_nor_torch_s_compiler():
    heavy = ["torch._dynamo", "torch._inductor", "sympy", "nnunetv2", "numba", "torch.onnx", "monai"]
    code = f"""
import sys
from nnunet_mamba.networks import DAMambaNet, DermoMamba, SliceMamba
from nnunet_mamba.losses import ASFMLoss, GuideFusionLoss
from nnunet_mamba.ops import selective_scan
print([name for name in {heavy} if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_meta_tensor_of_monai_gives_plain_logits(name):
    data = pytest.importorskip("monai.data")
    network, x = NETWORKS[name]().eval(), torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        pairs = list(zip(outputs(network, data.MetaTensor(x)), outputs(network, x), strict=True))
    for got, wanted in pairs:
        assert type(got) is torch.Tensor
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_in_half_precision_is_near_the_one_in_float32(name, dtype):
    network, x = NETWORKS[name]().eval(), torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        wanted = outputs(network, x)
        network.to(dtype)
        got = outputs(network, x.to(dtype))
    for half, single in zip(got, wanted, strict=True):
        assert half.dtype == dtype
        assert (half.float() - single).norm() / single.norm() < 10 * torch.finfo(dtype).eps
    sum(half.float().square().mean() for half in outputs(network.train(), x.to(dtype))).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


def test_a_float16_network_takes_images_that_overflow_float16_sums():
    """nnU-Net's z-score turns a constant image into its rounding errors times 1e8."""
    network = DAMambaNet(3, 2, (32, 32), deep_supervision=False).half().eval()
    with torch.no_grad():
        assert network(torch.full((1, 3, 32, 32), 6e4, dtype=torch.float16)).isfinite().all()


def test_monai_s_deep_supervision_takes_integer_targets_of_one_byte():
    """It resizes targets by interpolate, which takes uint8 and floats but no other integers."""
    losses = pytest.importorskip("monai.losses")
    network, target = DermoMamba(1, 3, (40, 64), deep_supervision=True), torch.randint(0, 3, (2, 1, 40, 64))
    loss = losses.DeepSupervisionLoss(losses.DiceCELoss(to_onehot_y=True, softmax=True))
    logits = network(torch.randn(2, 1, 40, 64))
    got = loss(logits, target.to(torch.uint8))
    torch.testing.assert_close(got, loss(logits, target.float()))
    got.backward()
    assert all(head.weight.grad.any() for head in network.heads.seg_layers)
