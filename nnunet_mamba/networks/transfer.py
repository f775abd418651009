"""Copies weights from elsewhere into our networks and reports every key: the authors' own, whatever wraps them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nnunet_mamba import networks
from nnunet_mamba.blocks.slice_scan import ANY_SLICES
from nnunet_mamba.networks.published import is_setting, translate

TO_CLASSES = ".seg_layers."  # nnU-Net's -pretrained_weights never loads these
VMAMBA = "layers.0.blocks.0.self_attention.A_logs"  # an entry of its VSSM as first released
SHOWN = 3  # of the entries that do not fit


class Import(NamedTuple):
    """What became of each key."""

    used: dict[str, list[str]]  # their name: our tensors that were set to it
    skipped: dict[str, str]  # their name: why it was not used
    missing: list[str]  # our tensors that were not set


class Published(NamedTuple):
    """A state dict that was recognised as a published network's."""

    arguments: dict[str, Any]  # of our network that fits it
    targets: dict[str, str]  # their name: ours


def recognise(network: type[nn.Module], state_dict: Mapping[str, Tensor]) -> Published | None:
    """How `state_dict` fits `network`, under any prefix such as Lightning's `model.`; None if it is another's."""
    names = getattr(network, "published_names", ())
    if not names or not hasattr(network, "published_arguments"):
        return None
    for prefix in _prefixes(state_dict):
        inside = [name for name in state_dict if name.startswith(prefix)]
        targets = {name: translate(name[len(prefix) :], names) for name in inside}
        try:
            arguments = network.published_arguments({ours: state_dict[name] for name, ours in targets.items()})
        except (KeyError, IndexError):  # a part of the network is not there
            continue
        return Published(arguments, targets)
    return None


def import_published(
    network: type[nn.Module], state_dict: Mapping[str, Tensor], **other: Any
) -> tuple[nn.Module, Import, dict[str, Any]]:
    """Build `network` for the authors' weights and load them.

    Args:
        network: a class of nnunet_mamba.networks with `published_names`.
        state_dict: weights with the authors' parameter names, also under a prefix.
        other: arguments for the network in place of those that the weights were trained with: `in_channels` (one
            channel takes the sum of theirs) or `input_size`. What then has another shape starts at random.
    Returns:
        The network, what became of each key, and the network's arguments.
    Raises:
        ValueError: the weights are another network's, or an entry has a shape that no input explains.
    """
    found = recognise(network, state_dict)
    if found is None:
        raise ValueError(f"state_dict: got {describe(state_dict)}, wanted {network.__name__}'s as published")
    fitting = network(**found.arguments).state_dict()
    problems = [
        f"{name} is {tuple(state_dict[name].shape)}, not {tuple(fitting[ours].shape)}"
        for name, ours in found.targets.items()
        if ours in fitting and state_dict[name].shape != fitting[ours].shape
    ]
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise ValueError(f"state_dict: got a {network.__name__} of other sizes: {'; '.join(problems[:SHOWN])}{more}")
    arguments = found.arguments | other
    built = network(**arguments)
    done = copy_weights(built, state_dict, lambda name: [found.targets[name]] if name in found.targets else [])
    return built, done, arguments


def copy_weights(network: nn.Module, state_dict: Mapping[str, Tensor], targets: Callable[[str], list[str]]) -> Import:
    """Copy each entry to its `targets`, which need not exist; the convolutions to the classes are left as they are."""
    ours = network.state_dict()
    used: dict[str, list[str]] = {}
    skipped: dict[str, str] = {}
    for name, tensor in state_dict.items():
        found = [target for target in targets(name) if target in ours]
        if not found:
            skipped[name] = "the network has no such part"
            continue
        if TO_CLASSES in found[0]:
            skipped[name] = "it depends on the classes, so nnU-Net does not load it"
            continue
        shape = ours[found[0]].shape
        # only the first layer, of an image of one channel
        if tensor.dim() == len(shape) == 4 and shape[1] == 1 < tensor.shape[1]:
            tensor = tensor.sum(1, keepdim=True)
        if tensor.shape != shape:
            skipped[name] = f"its shape is {tuple(tensor.shape)}, the network's {tuple(shape)}"
            continue
        for target in found:
            ours[target].copy_(tensor)
        used[name] = found
    filled = {target for found in used.values() for target in found}
    return Import(used, skipped, [name for name in ours if name not in filled and not is_setting(name)])


def describe(state_dict: Mapping[str, Tensor]) -> str:
    """Whose weights these are, for an error."""
    for name in networks.NAMES:
        if recognise(getattr(networks, name), state_dict):
            return f"{name}'s weights"
    if VMAMBA in state_dict:
        return "VMamba's weights"
    return f"{len(state_dict)} entries, the first {next(iter(state_dict), None)!r}"


def state_for_any_slicing(network: nn.Module) -> dict[str, Tensor]:
    """The network's state dict without a slicing: a network that loads it keeps its own."""
    state = network.state_dict()
    return state | {name: torch.tensor(ANY_SLICES) for name in state if is_setting(name)}


def _prefixes(state_dict: Mapping[str, Tensor]) -> list[str]:
    """Beginnings of up to three parts that most names share, the shortest first."""
    counts = {"": len(state_dict)}
    for name in state_dict:
        parts = name.split(".")
        for depth in range(1, min(len(parts), 4)):
            prefix = ".".join(parts[:depth]) + "."
            counts[prefix] = counts.get(prefix, 0) + 1
    return [prefix for prefix, count in counts.items() if 2 * count > len(state_dict)]
