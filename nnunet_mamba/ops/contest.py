"""Decides between engines on this machine's GPU, once per process: which ones work, and which one is faster."""

import logging
import time
from functools import cache

import torch
from torch import Tensor

from nnunet_mamba.messages import first_line
from nnunet_mamba.ops.engines import ScanEngine, ScanInputs, load_engine

logger = logging.getLogger("nnunet_mamba")

TRUSTED = "torch"
TINY = (2, 2, 9, 16, 70)  # batch, directions, channels, states, length: not a multiple of any kernel's tile
TYPICAL = (4, 4, 32, 16, 96 * 128)  # a medium scan of the networks
TOLERANCE = 1e-3  # relative: a wrong kernel is off by more, rounding by less
ROUNDS = 5


@cache
def works(engine: str, device: str = "cuda") -> bool:
    """Whether the engine computes the same as the torch engine, forward and backward, in a tiny scan.

    Nobody can test every driver, compiler and GPU. An engine that fails here is not used, with a warning.
    """
    try:
        got, wanted = (_run(load_engine(name), _inputs(TINY, device)) for name in (engine, TRUSTED))
        errors = [(a - b).norm() / b.norm().clamp_min(1e-12) for a, b in zip(got, wanted, strict=True)]
        off = torch.stack(errors).max().item()  # NaN if any error is NaN
    except Exception as error:  # whatever a compiler or a driver raises
        logger.warning("the scan engine %s does not run here (%s): using another", engine, first_line(error))
        return False
    if not off < TOLERANCE:
        logger.warning("the scan engine %s is off by %.1e here: using another; please report this", engine, off)
        return False
    return True


@cache
def faster(first: str, second: str, device: str = "cuda") -> str:
    """The engine whose forward and backward take less time. Measuring takes about a second."""
    times = {name: _seconds(load_engine(name), device) for name in (first, second)}
    return min(times, key=times.__getitem__)


def _seconds(engine: ScanEngine, device: str) -> float:
    inputs = _inputs(TYPICAL, device)
    best = float("inf")
    for _ in range(ROUNDS):
        _wait(device)
        start = time.perf_counter()
        _run(engine, inputs)
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return best


@torch.inference_mode(False)
@torch.no_grad()
def _inputs(shape: tuple[int, ...], device: str) -> ScanInputs:
    batch, directions, channels, states, length = shape
    draw = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=draw).to(device)

    positions = torch.stack([torch.randperm(length, generator=draw) for _ in range(directions)]).to(device)
    return ScanInputs(
        u=normal(batch, channels, length),
        delta=normal(batch, directions, channels, length),
        A=-torch.exp(normal(directions, channels, states)),
        B=normal(batch, directions, 1, states, length),
        C=normal(batch, directions, 1, states, length),
        D=normal(directions, channels),
        delta_bias=normal(directions, channels) - 2,
        positions=positions,
        steps=positions.argsort(dim=1),
    )


@torch.inference_mode(False)
@torch.no_grad()
def _run(engine: ScanEngine, inputs: ScanInputs) -> list[Tensor]:
    """Output, last states and gradients."""
    y, state, checkpoints = engine.scan_forward(inputs, delta_softplus=True, keep=True)
    return [y, state, *engine.scan_backward(torch.ones_like(y), inputs, True, checkpoints)]


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
