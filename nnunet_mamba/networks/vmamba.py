"""Initialises SliceMamba with VMamba's weights, as its authors do."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from nnunet_mamba.blocks.slice_scan import ANY_SLICES
from nnunet_mamba.networks.published import is_setting, translate
from nnunet_mamba.networks.slicemamba import SliceMamba, SliceMambaSupernet

BLOCK = re.compile(r"^layers\.(\d+)\.blocks\.")


class Import(NamedTuple):
    """What became of each key."""

    used: dict[str, list[str]]  # VMamba's name: our tensors that were set to it
    skipped: dict[str, str]  # VMamba's name: why it was not used
    missing: list[str]  # our tensors that were not set


def import_vmamba(network: SliceMamba, state_dict: Mapping[str, Tensor]) -> Import:
    """Copy VMamba's weights (VSSM, the release of January 2024) into a SliceMamba or its supernet.

    VMamba's stage i initialises the encoder's stage i and the decoder's stage of the same width; in a supernet, the
    blocks of all choices. For images of one channel, the embedding's three channels are summed, which gives the same
    maps as three equal channels.

    Args:
        state_dict: the `model` of VMamba's checkpoint.
    Raises:
        ValueError: nothing in `state_dict` fits.
    """
    ours = network.state_dict()
    used: dict[str, list[str]] = {}
    skipped: dict[str, str] = {}
    filled: set[str] = set()
    for name, tensor in state_dict.items():
        found = [target for target in _targets(network, name) if target in ours]
        if not found:
            skipped[name] = "the network has no such part"
            continue
        shape = ours[found[0]].shape
        if tensor.dim() == 4 and shape[1] == 1 < tensor.shape[1] and name == "patch_embed.proj.weight":
            tensor = tensor.sum(1, keepdim=True)
        if tensor.shape != shape:
            skipped[name] = f"its shape is {tuple(tensor.shape)}, the network's {tuple(shape)}"
            continue
        for target in found:
            ours[target].copy_(tensor)
        used[name] = found
        filled.update(found)
    if not used:
        raise ValueError(
            f"state_dict: none of its {len(state_dict)} keys fits, the first is {next(iter(state_dict), None)!r}. "
            "Wanted VMamba's VSSM as first released, at 96 channels, "
            "with keys such as 'layers.0.blocks.0.self_attention.A_logs'"
        )
    return Import(used, skipped, [name for name in ours if name not in filled and not is_setting(name)])


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


def state_for_any_slicing(network: SliceMamba) -> dict[str, Tensor]:
    """The network's state dict without its slicing: a network that loads it keeps its own."""
    state = network.state_dict()
    return state | {name: torch.tensor(ANY_SLICES) for name in state if is_setting(name)}
