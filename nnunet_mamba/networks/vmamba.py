"""Initialises SliceMamba with VMamba's weights, as its authors do."""

import re
from collections.abc import Mapping
from functools import partial

from torch import Tensor

from nnunet_mamba.networks.published import translate
from nnunet_mamba.networks.slicemamba import SliceMamba, SliceMambaSupernet
from nnunet_mamba.networks.transfer import VMAMBA, Import, copy_weights, describe, recognise

BLOCK = re.compile(r"^layers\.(\d+)\.blocks\.")


def import_vmamba(network: SliceMamba, state_dict: Mapping[str, Tensor]) -> Import:
    """Copy VMamba's weights (VSSM, the release of January 2024) into a SliceMamba or its supernet.

    VMamba's stage i initialises the encoder's stage i and the decoder's stage of the same width; in a supernet, the
    blocks of all choices. For images of one channel, the embedding's three channels are summed, which gives the same
    maps as three equal channels.

    Args:
        state_dict: the `model` of VMamba's checkpoint.
    Raises:
        ValueError: `state_dict` is another network's.
    """
    if not recognise(SliceMamba, state_dict):  # its own parts have the same names
        done = copy_weights(network, state_dict, partial(_targets, network))
        if done.used:
            return done
    raise ValueError(
        f"state_dict: got {describe(state_dict)}, wanted VMamba's VSSM as first released, at 96 channels, with keys "
        f"such as {VMAMBA!r}"
    )


def _targets(network: SliceMamba, name: str) -> list[str]:
    """Our names for VMamba's `name`, whether the network has them or not."""
    names = [name]
    if stage := BLOCK.match(name):
        mirrored = len(network.dims) - 1 - int(stage[1])
        names.append(f"layers_up.{mirrored}.blocks.{name[stage.end() :]}")
    targets = [translate(each, SliceMamba.published_names) for each in names]
    if not isinstance(network, SliceMambaSupernet):
        return targets
    return [each for target in targets for each in _for_each_choice(target, len(network.choices))]


def _for_each_choice(target: str, choices: int) -> list[str]:
    """encoder.0.1.norm.weight -> [encoder.0.1.0.norm.weight, encoder.0.1.1.norm.weight, ...]"""
    block = re.match(r"^((?:en|de)coder\.\d+\.\d+\.)(.*)", target)
    return [f"{block[1]}{choice}.{block[2]}" for choice in range(choices)] if block else [target]
