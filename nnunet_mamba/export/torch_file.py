"""A network as a `torch.export` program, which torch loads without this package."""

from pathlib import Path

import torch
from torch import Tensor, nn

from nnunet_mamba.export.program import export_network, quiet


def write_torch(network: nn.Module, image: Tensor, metadata: dict[str, str], file: Path) -> None:
    """Write `network` for inputs of the size of `image` (see `export_network`), with `metadata` as extra files.

    Raises:
        ValueError: torch cannot export the network.
    """
    program = export_network(network, image)
    with open(file, "wb") as opened, quiet():  # given a name, torch asks for the ending .pt2
        torch.export.save(program, opened, extra_files=metadata)
