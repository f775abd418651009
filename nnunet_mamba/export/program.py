"""A network as a `torch.export` program, for batches of any size."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from nnunet_mamba.ops import exportable
from nnunet_mamba.ops.scan_orders import known_walks

OLDEST_TORCH = "2.9"  # whose loops can be written as ONNX


def export_network(network: nn.Module, image: Tensor) -> ExportedProgram:
    """`network` for inputs of the size of `image`, (B, C, H, W) or (B, C, D, H, W), B at least 2 here and any later.

    The network must have run on such an image: its walks become constants.

    Raises:
        ValueError: torch is too old, or cannot export this network.
    """
    check_torch()
    with quiet(), known_walks(), torch.no_grad():
        try:
            return torch.export.export(network, (image,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        except Exception as error:  # torch raises what it likes of a network of the user's own
            raise ValueError(
                f"torch cannot export {type(network).__name__} for batches of any size: {type(error).__name__}: "
                f"{str(error).strip().splitlines()[0]}"
            ) from error


def check_torch() -> None:
    if not exportable.is_available():
        raise ValueError(f"got torch {torch.__version__}, wanted {OLDEST_TORCH} or newer: pip install --upgrade torch")


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporters' many notes on their own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
