"""Loads the authors' weights, by the `published_names` of a network."""

import re
from collections.abc import Callable, Mapping

from torch import Tensor, nn

# regular expressions and their replacements, applied in turn to a published name
Names = tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]


def load_published_state_dict(network: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load weights with the parameter names of the authors' published code into our network, strictly.

    Args:
        network: a network of nnunet_mamba.networks, built for the channels, classes and input size of the weights.
        state_dict: the authors' state dict, from `torch.load(file, weights_only=True)`.
    Raises:
        ValueError: the network was not published; or entries, which it names, are missing, unknown or of another shape.
    """
    names: Names | None = getattr(type(network), "published_names", None)
    if not names:
        raise ValueError(
            f"network: got {type(network).__name__}, wanted a network of nnunet_mamba.networks with published_names"
        )
    ours = {name: tensor for name, tensor in network.state_dict().items() if not is_setting(name)}
    theirs = {translate(name, names): (name, tensor) for name, tensor in state_dict.items()}
    problems = [f"missing: {name}" for name in ours if name not in theirs]
    problems += [f"unknown: {name}" for key, (name, _) in theirs.items() if key not in ours]
    problems += [
        f"{name}: got {tuple(tensor.shape)}, wanted {tuple(ours[key].shape)}"
        for key, (name, tensor) in theirs.items()
        if key in ours and ours[key].shape != tensor.shape
    ]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(
            f"state_dict does not fit this {type(network).__name__} (channels, classes and input_size must be the "
            f"weights' own): {'; '.join(problems[:5])}{more}"
        )
    settings = {name: tensor for name, tensor in network.state_dict().items() if is_setting(name)}
    network.load_state_dict({key: tensor for key, (_, tensor) in theirs.items()} | settings)


def translate(name: str, names: Names) -> str:
    """Our name for the published parameter `name`."""
    for pattern, replacement in names:
        name = re.sub(pattern, replacement, name)
    return name


def is_setting(name: str) -> bool:
    """Whether an entry of a state dict is one of our settings and not a weight, such as the slices of a scan."""
    return name.endswith("_extra_state")
