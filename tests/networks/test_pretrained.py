"""nnU-Net's -pretrained_weights transfers everything but the segmentation layers to another data set."""

from functools import partial

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

from nnunet_mamba import catalogue
from nnunet_mamba.networks import DermoMamba
from nnunet_mamba.planning.training_step import build_network

SMALL = {"dims": (8, 16, 32, 64), "depths": (1, 1, 1, 1), "depths_decoder": (1, 1, 1, 1)}


def build(entry, classes):
    return build_network(
        entry.key, 3, classes, (64, 96), tuple(item for item in SMALL.items() if item[0] in entry.sizes)
    )


NETWORKS = {entry.network: partial(build, entry) for entry in catalogue.NETWORKS} | {
    "DermoMamba supervised": lambda classes: DermoMamba(3, classes, (64, 96), deep_supervision=True)
}


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_transfer_to_other_classes(name, tmp_path):
    source, network = NETWORKS[name](2), NETWORKS[name](5)
    torch.save({"network_weights": source.state_dict()}, tmp_path / "checkpoint.pth")
    load_pretrained_weights(network, str(tmp_path / "checkpoint.pth"))
    theirs = source.state_dict()
    kept = [key for key, tensor in network.state_dict().items() if not torch.equal(tensor, theirs[key])]
    assert kept and all(".seg_layers." in key for key in kept)
