"""VMamba's weights in SliceMamba, with a generated state dict of VMamba-tiny's names and shapes."""

import pytest
import torch

from helpers.vmamba_tiny import state_dict
from nnunet_mamba.networks import SliceMamba, SliceMambaSupernet
from nnunet_mamba.networks.vmamba import import_vmamba

SKIPPED = {"norm.weight", "norm.bias", "head.weight", "head.bias"}  # the classifier


@pytest.fixture(scope="module")
def vmamba():
    return state_dict()


def test_vmamba_initialises_the_encoder_and_the_mirrored_decoder(vmamba):
    network = SliceMamba(3, 2)
    done = import_vmamba(network, vmamba)
    assert set(done.skipped) == SKIPPED and set(done.used) == set(vmamba) - SKIPPED
    ours = network.state_dict()
    for stage, depth in enumerate((2, 2, 9, 2)):
        for block in range(depth):
            theirs = f"layers.{stage}.blocks.{block}.self_attention.A_logs"
            targets = [f"encoder.{stage}.{block}.scan.A_logs"]
            if block < (1, 2, 2, 2)[stage]:
                targets.append(f"decoder.{3 - stage}.{block}.scan.A_logs")
            assert done.used[theirs] == targets
            for target in targets:
                assert torch.equal(ours[target], vmamba[theirs])
    assert torch.equal(ours["merging.2.reduction.weight"], vmamba["layers.2.downsample.reduction.weight"])
    assert {name.split(".")[0] for name in done.missing} == {"expanding", "final_expanding", "head"}


def test_vmamba_initialises_every_choice_of_a_supernet(vmamba):
    network = SliceMambaSupernet(3, 2)
    done = import_vmamba(network, vmamba)
    name = "layers.3.blocks.1.ln_1.weight"
    assert set(done.used[name]) == {f"encoder.3.1.{c}.norm.weight" for c in range(4)} | {
        f"decoder.0.1.{c}.norm.weight" for c in range(4)
    }
    state = network.state_dict()
    assert all(torch.equal(state[target], vmamba[name]) for target in done.used[name])


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_other_channels(vmamba, channels):
    """One channel is treated like three equal ones; four channels start at random."""
    network, coloured = SliceMamba(channels, 2), SliceMamba(3, 2)
    done = import_vmamba(network, vmamba)
    import_vmamba(coloured, vmamba)
    if channels == 1:
        grey = torch.randn(1, 1, 32, 32)
        torch.testing.assert_close(
            network.embedding(grey), coloured.embedding(grey.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4
        )
    else:
        assert done.skipped["patch_embed.proj.weight"] == "its shape is (96, 3, 4, 4), the network's (96, 4, 4, 4)"
        assert "embedding.projection.weight" in done.missing


def test_weights_of_something_else_are_refused():
    with pytest.raises(ValueError, match="got 1 entries, the first 'layer4.0.conv1.weight', wanted VMamba's"):
        import_vmamba(SliceMamba(3, 2), {"layer4.0.conv1.weight": torch.zeros(1)})
