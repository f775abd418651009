"""SliceMamba: the published numbers; any size, channels and classes; slicing; errors."""

import json

import pytest
import torch

from helpers.multiply_adds import multiply_adds
from helpers.recorded import FOLDER, arrays, draw, listing, published_state
from nnunet_mamba.networks import SliceMamba, SliceMambaSupernet, load_published_state_dict
from nnunet_mamba.networks.slicemamba import SLICES

SMALL = {"dims": (8, 16, 32, 64), "depths": (1, 1, 1, 1), "depths_decoder": (1, 1, 1, 1)}


def published_slicing():
    return [SLICES[choice] for choice in json.loads((FOLDER / "slicemamba_architecture.json").read_text())]


def test_whole_network_equals_the_published_one():
    recorded, numbers = listing("slicemamba"), arrays("slicemamba")
    network = SliceMamba(3, 2, published_slicing()).eval()
    load_published_state_dict(network, published_state("slicemamba"))
    assert sum(parameter.numel() for parameter in network.parameters()) == recorded["parameters"] == 35_798_018
    x = torch.from_numpy(draw(recorded["seed"], 10**6, recorded["input_shape"])).float()
    with torch.inference_mode():
        y = network(x)
    stride = recorded["stride"]
    torch.testing.assert_close(y[..., ::stride, ::stride], numbers["output0"], rtol=1e-3, atol=1e-3)


def test_multiply_adds():
    assert multiply_adds(SliceMamba(3, 2), 1, 3, 192, 256) == 4_250_419_200


@pytest.mark.parametrize(
    ("size", "channels", "classes"), [((16, 16), 1, 1), ((33, 50), 1, 2), ((64, 96), 8, 20), ((100, 40), 4, 3)], ids=str
)
def test_any_size_channels_and_classes(size, channels, classes):
    network = SliceMamba(channels, classes, **SMALL)
    x = torch.randn(1, channels, *size)
    y = network(x)
    assert y.shape == (1, classes, *size)
    y.square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_slicing_changes_the_walk_only():
    networks = [SliceMamba(1, 1, [slices] * 8, **SMALL).eval() for slices in ((2, 2), (4, 4))]
    weights = {name: tensor for name, tensor in networks[0].state_dict().items() if not name.endswith("_extra_state")}
    networks[1].load_state_dict(weights, strict=False)
    x = torch.randn(1, 1, 64, 64)
    assert not torch.equal(*(network(x) for network in networks))


def test_state_dict_includes_the_slicing():
    slicing = [(2, 2), (2, 4), (4, 2), (4, 4)] * 2
    source, network = SliceMamba(1, 1, slicing, **SMALL).eval(), SliceMamba(1, 1, **SMALL).eval()
    network.load_state_dict(source.state_dict())
    assert network.slicing == source.slicing == tuple(slicing)
    x = torch.randn(1, 1, 64, 64)
    assert torch.equal(network(x), source(x))
    network.set_slicing([(4, 4)] * 8)
    assert not torch.equal(network(x), source(x))
    with pytest.raises(ValueError, match="slicing: got 7 pairs, wanted 8"):
        network.set_slicing(slicing[:7])


def test_stochastic_depth_is_for_training_only():
    torch.manual_seed(0)
    network = SliceMamba(1, 1, drop_path=0.9, **SMALL)
    x = torch.randn(2, 1, 32, 32)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
    rates = [block.drop_path.drop_prob for stage in [*network.encoder, *network.decoder] for block in stage]
    assert rates[0] == rates[-1] == 0 and max(rates) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"slicing": [(2, 2)] * 21}, "slicing: got 21 pairs, wanted 22"),
        ({"slicing": [(2, 2)] * 21 + [(0, 2)]}, r"slicing: got \(0, 2\) for block 21"),
        ({"slicing": [(2, 2, 2)] * 22}, "slicing: got .* for block 0"),
        ({"dims": (96, 192)}, "got 4, 4 and 2 stages"),
        ({"dims": (96, 100, 384, 768)}, r"dims: got \(96, 100, 384, 768\), wanted each twice"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SliceMamba(3, 2, **arguments)


@pytest.mark.parametrize("shape", [(1, 2, 32, 32), (3, 32, 32)], ids=str)
def test_wrong_input_is_named(shape):
    with pytest.raises(ValueError, match=r"SliceMamba: got an input of shape .*, wanted \(B, 3, H, W\)"):
        SliceMamba(3, 2, **SMALL)(torch.zeros(shape))


def test_a_path_of_the_supernet_is_a_slicemamba():
    supernet = SliceMambaSupernet(1, 2, **SMALL).eval()
    path = [3, 0, 1, 2, 2, 1, 0, 3]
    supernet.set_path(path)
    network = SliceMamba(1, 2, supernet.slicing_of(path), **SMALL).eval()
    chosen = {
        name: tensor for name, tensor in supernet.state_dict().items() if not name.startswith(("encoder", "decoder"))
    }
    for index, choice in enumerate(path):
        side, stage = ("encoder", index) if index < 4 else ("decoder", index - 4)
        block = getattr(supernet, side)[stage][0][choice]
        chosen |= {f"{side}.{stage}.0.{name}": tensor for name, tensor in block.state_dict().items()}
    network.load_state_dict(chosen)
    x = torch.randn(1, 1, 40, 56)
    torch.testing.assert_close(supernet(x), network(x))


def test_only_the_chosen_blocks_are_trained():
    supernet = SliceMambaSupernet(1, 1, **SMALL)
    supernet.set_path([1] * 8)
    supernet(torch.randn(1, 1, 32, 32)).square().mean().backward()
    for choices in supernet.blocks:
        assert [block.scan.A_logs.grad is not None for block in choices] == [False, True, False, False]


def test_a_supernet_takes_a_slicing_of_its_choices():
    supernet = SliceMambaSupernet(1, 1, **SMALL)
    path = [3, 0, 1, 2, 2, 1, 0, 3]
    supernet.set_slicing(supernet.slicing_of(path))
    assert [block.chosen for block in supernet.blocks] == path and supernet.slicing == tuple(supernet.slicing_of(path))
    with pytest.raises(ValueError, match=r"slicing: got \(3, 3\) for block 5, wanted one of \(2, 2\), \(2, 4\)"):
        supernet.set_slicing([(2, 2)] * 5 + [(3, 3)] * 3)


@pytest.mark.parametrize("path", [[0] * 7, [0] * 7 + [4], [-1] + [0] * 7], ids=str)
def test_wrong_paths_are_named(path):
    with pytest.raises(ValueError, match="path: got .*, wanted 8 indices of choices, 0 to 3 each"):
        SliceMambaSupernet(1, 1, **SMALL).set_path(path)
