"""DA-MambaNet: the published numbers; any size, channels and classes; errors."""

import pytest
import torch

from helpers.multiply_adds import multiply_adds
from helpers.recorded import arrays, draw, listing, published_state
from nnunet_mamba.networks import DAMambaNet, load_published_state_dict


def test_whole_network_equals_the_published_one():
    recorded, numbers = listing("da_mambanet"), arrays("da_mambanet")
    network = DAMambaNet(3, 1, recorded["input_shape"][2:]).eval()
    load_published_state_dict(network, published_state("da_mambanet"))
    x = torch.from_numpy(draw(recorded["seed"], 10**6, recorded["input_shape"])).float()
    with torch.inference_mode():
        outputs = network(x)
    stride = recorded["stride"]
    for i, output in enumerate(outputs):
        torch.testing.assert_close(output[..., ::stride, ::stride], numbers[f"output{i}"], rtol=1e-3, atol=1e-3)


def test_parameter_count_is_the_published_one():
    count = sum(parameter.numel() for parameter in DAMambaNet(3, 1, (192, 256)).parameters())
    assert count == listing("da_mambanet")["parameters"] == 5_834_124


def test_multiply_adds():
    """2.26 G of them are in the decoder's 3x3 convolutions."""
    assert multiply_adds(DAMambaNet(3, 1, (192, 256)), 1, 3, 192, 256) == 3_499_392_384


@pytest.mark.parametrize(
    ("size", "channels", "classes"), [((32, 32), 1, 1), ((33, 50), 1, 2), ((64, 96), 8, 20), ((100, 40), 4, 3)]
)
def test_any_size_channels_and_classes(size, channels, classes):
    network = DAMambaNet(channels, classes, size)
    outputs = network(torch.randn(1, channels, *size))
    assert [tuple(output.shape) for output in outputs] == [(1, classes, *size)] * 3
    sum(output.square().mean() for output in outputs).backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


def test_final_is_the_sum_and_the_only_output_without_deep_supervision():
    network = DAMambaNet(3, 2, (40, 64)).eval()
    x = torch.randn(1, 3, 40, 64)
    final, decoder, layer = network(x)
    torch.testing.assert_close(final, decoder + layer)
    network.deep_supervision = False
    torch.testing.assert_close(network(x), final)


def test_state_dict_is_the_same_with_and_without_deep_supervision():
    with_heads = DAMambaNet(1, 2, (32, 32), deep_supervision=True).state_dict()
    DAMambaNet(1, 2, (32, 32), deep_supervision=False).load_state_dict(with_heads, strict=True)


def test_output_may_be_changed_in_place():
    network = DAMambaNet(1, 2, (40, 40), deep_supervision=False).eval()
    x = torch.randn(1, 1, 40, 40)
    with torch.inference_mode():
        first = network(x)
        wanted = first.clone()
        first.mul_(0)
        torch.testing.assert_close(network(x), wanted)


@pytest.mark.parametrize("size", [(15, 64), (64, 8), (64,), (32, 32, 32)], ids=str)
def test_input_size_below_16_or_not_2d(size):
    with pytest.raises(ValueError, match=r"DAMambaNet: got input_size .* wanted \(H, W\) of at least 16"):
        DAMambaNet(3, 1, size)


@pytest.mark.parametrize("shape", [(1, 3, 64, 32), (1, 1, 32, 64), (3, 32, 64)], ids=str)
def test_input_of_another_size(shape):
    with pytest.raises(ValueError, match=r"got an input of shape .* wanted \(B, 3, 32, 64\)"):
        DAMambaNet(3, 1, (32, 64))(torch.zeros(shape))


def test_published_weights_of_another_size_are_refused_and_nothing_is_loaded():
    network = DAMambaNet(3, 1, (192, 192))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(ValueError, match=r"e1.psa.pw_h.weight: got \(256, 256, 1, 1\), wanted \(192, 192, 1, 1\)"):
        load_published_state_dict(network, published_state("da_mambanet"))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("change", "message"), [("drop", "missing: stem.0.bias"), ("add", "unknown: extra")])
def test_published_weights_must_fit_entry_by_entry(change, message):
    state = published_state("da_mambanet")
    if change == "drop":
        del state["pw_in.bias"]
    else:
        state["extra"] = torch.zeros(1)
    with pytest.raises(ValueError, match=message):
        load_published_state_dict(DAMambaNet(3, 1, (192, 256)), state)


def test_published_weights_for_a_foreign_network():
    with pytest.raises(ValueError, match="got Linear, wanted a network of nnunet_mamba.networks"):
        load_published_state_dict(torch.nn.Linear(1, 1), {})
