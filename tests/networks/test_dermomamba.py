"""DermoMamba: the published numbers; any size, channels and classes; deep supervision; errors."""

import pytest
import torch

from helpers.multiply_adds import multiply_adds
from helpers.recorded import arrays, draw, listing, published_state
from nnunet_mamba.networks import DermoMamba, load_published_state_dict


def test_whole_network_equals_the_published_one():
    recorded, numbers = listing("dermomamba"), arrays("dermomamba")
    network = DermoMamba(3, 1, recorded["input_shape"][2:]).eval()
    load_published_state_dict(network, published_state("dermomamba"))
    x = torch.from_numpy(draw(recorded["seed"], 10**6, recorded["input_shape"])).float()
    with torch.inference_mode():
        output = network(x)
    stride = recorded["stride"]
    torch.testing.assert_close(output[..., ::stride, ::stride], numbers["output0"], rtol=1e-3, atol=1e-3)


def test_parameter_count_is_the_published_one():
    count = sum(parameter.numel() for parameter in DermoMamba(3, 1, (192, 256)).parameters())
    assert count == listing("dermomamba")["parameters"] == 4_953_425


def test_multiply_adds():
    """The paper says less than 1 G, but the decoder's five 3x3 convolutions already take 1.13 G."""
    assert multiply_adds(DermoMamba(3, 1, (192, 256)), 1, 3, 192, 256) == 3_468_493_952


@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize(
    ("size", "channels", "classes"), [((32, 32), 1, 1), ((33, 50), 1, 2), ((64, 96), 8, 20), ((100, 40), 4, 3)]
)
def test_any_size_channels_and_classes(size, channels, classes, deep_supervision):
    network = DermoMamba(channels, classes, size, deep_supervision)
    outputs = network(torch.randn(1, channels, *size))
    outputs = outputs if deep_supervision else [outputs]
    shapes = [(1, classes, round(size[0] / 2**i), round(size[1] / 2**i)) for i in range(5 if deep_supervision else 1)]
    assert [tuple(output.shape) for output in outputs] == shapes
    sum(output.square().mean() for output in outputs).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_weights_trained_with_deep_supervision_predict_without():
    """nnU-Net loads them strictly into a network without the deeper heads."""
    trained = DermoMamba(1, 2, (40, 64), deep_supervision=True).eval()
    plain = DermoMamba(1, 2, (40, 64)).eval()
    state = trained.state_dict()
    names = list(state)
    plain.load_state_dict(state, strict=True)
    assert list(state) == names
    x = torch.randn(1, 1, 40, 64)
    torch.testing.assert_close(plain(x), trained(x)[0])
    trained.deep_supervision = False
    torch.testing.assert_close(plain(x), trained(x))
    trained.load_state_dict(state, strict=True)
    with pytest.raises(RuntimeError, match="Missing key.*seg_layers.1.weight"):
        trained.load_state_dict(plain.state_dict(), strict=True)
    with pytest.raises(RuntimeError, match="Unexpected key.*extra"):
        plain.load_state_dict(state | {"extra": torch.zeros(1)}, strict=True)


def test_output_may_be_changed_in_place():
    network = DermoMamba(1, 2, (40, 40)).eval()
    x = torch.randn(1, 1, 40, 40)
    with torch.inference_mode():
        first = network(x)
        wanted = first.clone()
        first.mul_(0)
        torch.testing.assert_close(network(x), wanted)


@pytest.mark.parametrize("size", [(15, 64), (64, 8), (64,), (32, 32, 32)], ids=str)
def test_input_size_below_16_or_not_2d(size):
    with pytest.raises(ValueError, match=r"DermoMamba: got input_size .* wanted \(H, W\) of at least 16"):
        DermoMamba(3, 1, size)


@pytest.mark.parametrize("shape", [(1, 3, 64, 32), (1, 1, 32, 64), (3, 32, 64)], ids=str)
def test_input_of_another_size(shape):
    with pytest.raises(ValueError, match=r"got an input of shape .* wanted \(B, 3, 32, 64\)"):
        DermoMamba(3, 1, (32, 64))(torch.zeros(shape))


def test_published_weights_of_another_size_are_refused_and_nothing_is_loaded():
    network = DermoMamba(3, 1, (192, 192))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"b1.mamba3.x_proj_weight: got \(4, 33, 16\), wanted \(4, 33, 12\)"):
        load_published_state_dict(network, published_state("dermomamba"))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
