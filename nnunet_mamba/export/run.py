"""Exports a trained model to a file, after a check of the file in a process without this package's code."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from nnunet_mamba.export.check import Tried, try_file
from nnunet_mamba.export.metadata import KEY, as_text, metadata
from nnunet_mamba.export.onnx_file import write_onnx
from nnunet_mamba.export.torch_file import write_torch
from nnunet_mamba.files import replacing
from nnunet_mamba.prediction import Predictor

WRITERS: dict[str, Callable] = {"onnx": write_onnx, "torch": write_torch}
MOST_ERROR = 1e-4  # relative to the largest logit; what rounding alone makes is about 1e-6
BATCHES = 2, 1  # a file is tried with both; the first is what is exported with


class Exported(NamedTuple):
    """`seconds` of the export, `network_seconds` of one image in torch here; and of the file, see `Tried`."""

    seconds: float
    network_seconds: float
    error: float
    tried: Tried


def export_model(predictor: Predictor, kind: str, output: Path, patch: Sequence[int] | None = None) -> Exported:
    """Write the network of `predictor`, of one fold, to `output`.

    Args:
        kind: onnx or torch.
        patch: size of the images that the file takes; None: the model's patch size.
    Raises:
        ValueError: the network cannot be exported or takes no such images, or the file computes something else.
    """
    size = tuple(patch or predictor.configuration.patch_size)
    network = predictor.networks[0].requires_grad_(False)
    images = torch.randn(BATCHES[0], len(predictor.reader.channels), *size, generator=torch.Generator().manual_seed(0))
    wanted = _logits(network, images, size)
    start = time.monotonic()
    _logits(network, images[:1], size)
    network_seconds = time.monotonic() - start
    with replacing(output) as unfinished:
        start = time.monotonic()
        WRITERS[kind](network, images, {KEY: as_text(metadata(predictor, size))}, unfinished)
        seconds = time.monotonic() - start
        tried = try_file(kind, unfinished, [images[:batch].numpy() for batch in BATCHES])
        error = max(_error(got, wanted[: len(got)]) for got in tried.logits)
        if not error <= MOST_ERROR:
            raise ValueError(
                f"the file's logits differ from the network's by {error:.1e} of the largest one, wanted at most "
                f"{MOST_ERROR:.0e}; nothing was written. Please report it, with torch's version and {tried.runtime}"
            )
    return Exported(seconds, network_seconds, error, tried)


def _logits(network: torch.nn.Module, images: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    try:
        with torch.no_grad():
            return network(images)
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"the network takes no images of {' x '.join(map(str, size))}: {error}") from error


def _error(got: Any, wanted: torch.Tensor) -> float:
    return float((torch.from_numpy(got) - wanted).abs().max() / wanted.abs().max())
