"""Reads tests/golden: numbers recorded from the published networks, blocks and losses.

A block's file has its parameters as `state:NAME` (the authors' names), `input0`, ..., its outputs in evaluation mode
`output0`, ..., and `grad_input0`, ..., the gradients of the sum of outputs times `cotangent0`, .... The parameters of
whole networks are not stored: `published_state` computes them.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[1] / "golden"


def arrays(name: str) -> dict[str, Tensor]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}


def listing(network: str) -> dict:
    """Names and shapes of the published state dict, seed, input shape, and stride of the recorded outputs."""
    return json.loads((FOLDER / f"{network}.json").read_text())


def draw(seed: int, index: int, shape) -> np.ndarray:
    return np.random.default_rng([seed, index]).standard_normal(shape)


def published_state(network: str) -> dict[str, Tensor]:
    """The state dict, in the authors' names, that gave a whole network's recorded outputs."""
    recorded = listing(network)
    return {
        name: torch.from_numpy(np.asarray(_value(name, draw(recorded["seed"], index, shape))))
        for index, (name, shape) in enumerate(recorded["state"])
    }


def _value(name: str, z: np.ndarray) -> np.ndarray:
    kind = name.split(".")[-1]
    if kind == "num_batches_tracked":
        return np.int64(0)
    if kind == "running_var":
        value = 1 + 0.1 * abs(z)
    elif kind == "running_mean":
        value = 0.1 * z
    elif kind == "A_logs":
        value = np.log(np.arange(1, z.shape[-1] + 1)) + 0.1 * z
    elif kind in ("Ds", "scale") or (kind == "weight" and z.ndim == 1):
        value = 1 + 0.1 * z
    elif z.ndim >= 2:
        value = z / np.sqrt(np.prod(z.shape[1:]))
    else:
        value = 0.1 * z
    return value.astype(np.float32)
