"""Every network trains and predicts on any 2-D patch that nnU-Net may plan, for any channels and classes."""

import numpy as np
import pytest
import torch

from nnunet_mamba.networks import DAMambaNet, DermoMamba, SliceMamba, SliceMambaSupernet

SMALL = {"dims": (8, 16, 32, 64), "depths": (1, 1, 1, 1), "depths_decoder": (1, 1, 1, 1)}
NETWORKS = {
    "DAMambaNet": DAMambaNet,
    "DermoMamba": lambda channels, classes, size: DermoMamba(channels, classes, size, deep_supervision=True),
    "SliceMamba": lambda channels, classes, size: SliceMamba(channels, classes, **SMALL),
    "SliceMambaSupernet": lambda channels, classes, size: SliceMambaSupernet(channels, classes, **SMALL),
}
CORNERS = [
    ((16, 16), 1, 1),  # a bottleneck of one pixel and a batch of one: no variance
    ((16, 17), 8, 20),
    ((17, 33), 3, 2),
    ((16, 640), 1, 2),
    ((640, 16), 2, 3),
    ((31, 320), 4, 5),
]


def drawn(count):
    """Random sizes of odd proportions between 16 and 640, mostly small."""
    generator = np.random.default_rng(7)
    for _ in range(count):
        long = int(16 * 40 ** generator.uniform(0, 1) ** 2)
        short = int(generator.integers(16, min(long, 80) + 1))
        size = (long, short) if generator.random() < 0.5 else (short, long)
        yield size, int(generator.integers(1, 9)), int(generator.integers(1, 21))


PATCHES = [*CORNERS, *drawn(8)]


def test_the_patches_cover_what_they_should():
    sizes = [size for size, _, _ in PATCHES]
    assert min(map(min, sizes)) == 16 and max(map(max, sizes)) == 640
    assert sum(size[0] % 32 != 0 and size[1] % 32 != 0 for size in sizes) >= 5
    assert sum(size[0] != size[1] for size in sizes) >= 10


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("size", "channels", "classes"), PATCHES, ids=str)
def test_training_and_prediction_on_one_image(name, size, channels, classes):
    torch.manual_seed(0)
    network = NETWORKS[name](channels, classes, size)
    x = torch.randn(1, channels, *size)
    outputs = network(x)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    assert outputs[0].shape == (1, classes, *size)
    sum(output.square().mean() for output in outputs).backward()
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)
    assert all(buffer.isfinite().all() for buffer in network.buffers())
    network.eval()
    network.deep_supervision = False
    with torch.inference_mode():
        predicted = network(x)
    assert predicted.shape == (1, classes, *size) and predicted.isfinite().all()


@pytest.mark.parametrize("name", ["DAMambaNet", "DermoMamba", "SliceMamba"])
def test_the_largest_patch(name):
    network = NETWORKS[name](1, 2, (640, 640)).eval()
    network.deep_supervision = False
    with torch.inference_mode():
        logits = network(torch.randn(1, 1, 640, 640))
    assert logits.shape == (1, 2, 640, 640) and logits.isfinite().all()


def test_full_size_slicemamba_on_the_smallest_patch():
    network = SliceMamba(2, 3)
    network(torch.randn(1, 2, 16, 23)).square().mean().backward()
    assert all(weight.grad.isfinite().all() for weight in network.parameters())


@pytest.mark.parametrize("name", ["DAMambaNet", "DermoMamba", "SliceMamba"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kind", ["noise", "constant"])
def test_activations_of_a_million_in_half_precision(name, dtype, kind):
    """nnU-Net's z-score turns a constant image into its rounding errors times 1e8."""
    torch.manual_seed(0)
    network = NETWORKS[name](3, 2, (40, 48))
    x = 1e6 * (torch.randn(2, 3, 40, 48) if kind == "noise" else torch.ones(2, 3, 40, 48))
    with torch.autocast("cpu", dtype=dtype):
        outputs = network(x)
        outputs = outputs if isinstance(outputs, list) else [outputs]
    assert all(output.isfinite().all() for output in outputs)
    assert outputs[0].dtype == dtype
    sum(output.float().square().mean() for output in outputs).backward()
    wrong = [
        name
        for name, weight in network.named_parameters()
        if weight.grad is not None and not weight.grad.isfinite().all()
    ]
    assert not wrong
    assert all(buffer.isfinite().all() for buffer in network.buffers())


def test_only_float16_clamps_an_image():
    network = SliceMamba(1, 1, **SMALL).eval()
    network.embedding.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].abs().max().item()))
    for dtype, largest in ((torch.float16, 1e4), (torch.bfloat16, 1e6), (None, 1e6)):
        seen = []
        with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            network(torch.full((1, 1, 32, 32), -1e6))
        assert seen == [largest]
