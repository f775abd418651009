"""What decides between engines on this machine's GPU, once a process: which work at all, and which is the fastest."""

import importlib
import logging
import time
from functools import cache

import torch
from torch import Tensor

logger = logging.getLogger("nnunet_mamba")

TRUSTED = "nnunet_mamba.ops.torch_engine"
TINY = (2, 2, 9, 16, 70)  # batch, directions, channels, states, length: no multiple of any block
TYPICAL = (4, 4, 32, 16, 96 * 128)  # the middle of the networks' scans
TOLERANCE = 1e-3  # relative: a wrong kernel is off by more, rounding by less
ROUNDS = 5


@cache
def works(engine: str, device: str = "cuda") -> bool:
    """Whether the engine of that module name computes what the torch engine does, forward and backward, in a tiny scan.

    Drivers, compilers and GPUs are more than anybody can test: an engine that fails here is left out, with a warning.
    """
    try:
        got, wanted = (_run(importlib.import_module(name), _arguments(TINY, device)) for name in (engine, TRUSTED))
        errors = [(a - b).norm() / b.norm().clamp_min(1e-12) for a, b in zip(got, wanted, strict=True)]
        off = torch.stack(errors).max().item()  # not a number if one is not
    except Exception as error:  # whatever a compiler or a driver raises
        logger.warning(
            "the scan engine %s does not run here (%s): using another", engine, str(error).strip().split("\n")[0]
        )
        return False
    if not off < TOLERANCE:
        logger.warning("the scan engine %s is off by %.1e here: using another; please report this", engine, off)
        return False
    return True


@cache
def faster(first: str, second: str, device: str = "cuda") -> str:
    """The module name of the engine whose forward and backward take less time; a measurement of about a second."""
    times = {name: _seconds(importlib.import_module(name), device) for name in (first, second)}
    return min(times, key=times.get)


def _seconds(engine, device: str) -> float:
    arguments = _arguments(TYPICAL, device)
    best = float("inf")
    for _ in range(ROUNDS):
        _wait(device)
        start = time.perf_counter()
        _run(engine, arguments)
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return best


@torch.inference_mode(False)
@torch.no_grad()
def _arguments(shape: tuple[int, ...], device: str) -> list[Tensor]:
    batch, directions, channels, states, length = shape
    draw = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=draw).to(device)

    orders = torch.stack([torch.randperm(length, generator=draw) for _ in range(directions)]).to(device)
    steering = [normal(batch, directions, 1, states, length) for _ in range(2)]
    return [
        normal(batch, channels, length),
        normal(batch, directions, channels, length),
        -torch.exp(normal(directions, channels, states)),
        *steering,
        normal(directions, channels),
        normal(directions, channels) - 2,
        orders,
    ]


@torch.inference_mode(False)
@torch.no_grad()
def _run(engine, arguments: list[Tensor]) -> list[Tensor]:
    """Output, last states and gradients."""
    y, state, checkpoints = engine.scan_forward(*arguments, True)
    return [y, state, *engine.scan_backward(torch.ones_like(y), *arguments, True, checkpoints)]


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
