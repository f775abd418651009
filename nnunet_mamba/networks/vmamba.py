"""Begins SliceMamba with weights that were trained the VMamba way, as its authors do."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from nnunet_mamba.networks.published import is_setting, translate
from nnunet_mamba.networks.slicemamba import SliceMamba, SliceMambaSupernet

BLOCK = re.compile(r"^layers\.(\d+)\.blocks\.")


class Import(NamedTuple):
    """What became of each key."""

    used: dict[str, list[str]]  # VMamba's name -> ours, several where it begins several tensors
    skipped: dict[str, str]  # VMamba's name -> why it begins nothing
    missing: list[str]  # ours, that keep the values they had


def import_vmamba(network: SliceMamba, state_dict: Mapping[str, Tensor]) -> Import:
    """Copy VMamba's weights (VSSM, the release of January 2024) into a SliceMamba or its supernet.

    Stage i of VMamba begins stage i of the encoder and, mirrored, stage i from the end of the decoder; in a supernet, each
    choice of slices alike. Images of one channel take the sum of the embedding's three, which is what three equal channels get.

    Args:
        state_dict: the `model` of VMamba's checkpoint.
    Raises:
        ValueError: nothing in `state_dict` fits.
    """
    ours = network.state_dict()
    used, skipped, filled = {}, {}, set()
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
            f"state_dict: none of its {len(state_dict)} keys fits, the first is {next(iter(state_dict), None)!r}. Wanted VMamba's "
            "VSSM as first released, with keys such as 'layers.0.blocks.0.self_attention.A_logs', at 96 channels"
        )
    return Import(used, skipped, [name for name in ours if name not in filled and not is_setting(name)])


def _targets(network: SliceMamba, name: str) -> list[str]:
    """Our names for what VMamba's `name` begins, whether the network has them or not."""
    names = [name]
    if stage := BLOCK.match(name):
        mirrored = len(network.dims) - 1 - int(stage[1])
        names.append(f"layers_up.{mirrored}.blocks.{name[stage.end() :]}")
    targets = [translate(each, SliceMamba.published_names) for each in names]
    if not isinstance(network, SliceMambaSupernet):
        return targets
    return [each for target in targets for each in _for_each_choice(target, len(network.choices))]


def _for_each_choice(target: str, choices: int) -> list[str]:
    """encoder.0.1.norm.weight -> encoder.0.1.0.norm.weight, encoder.0.1.1.norm.weight ..."""
    place = re.match(r"^((?:en|de)coder\.\d+\.\d+\.)(.*)", target)
    return [f"{place[1]}{choice}.{place[2]}" for choice in range(choices)] if place else [target]


def settings_left_open(network: nn.Module) -> dict[str, Tensor]:
    """The network's state, with the slices left open: who loads it keeps the slicing that he has."""
    return {name: tensor.zero_() if is_setting(name) else tensor for name, tensor in network.state_dict().items()}
