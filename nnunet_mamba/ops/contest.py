"""Which of two engines is the faster on this GPU, by a short measurement once a process."""

import importlib
import time
from functools import lru_cache

import torch

SHAPE = (4, 4, 32, 16, 96 * 128)  # batch, directions, channels, states, length: the middle of the networks' scans
ROUNDS = 5


@lru_cache(maxsize=None)
def faster(first: str, second: str, device: str = "cuda") -> str:
    """The module name of the engine whose forward and backward take less time; a measurement of about a second."""
    times = {name: _seconds(importlib.import_module(name), device) for name in (first, second)}
    return min(times, key=times.get)


@torch.inference_mode(False)
@torch.no_grad()
def _seconds(engine, device: str) -> float:
    batch, directions, channels, states, length = SHAPE
    u = torch.randn(batch, channels, length, device=device)
    delta = torch.randn(batch, directions, channels, length, device=device)
    A = -torch.rand(directions, channels, states, device=device)
    B, C = torch.randn(2, batch, directions, 1, states, length, device=device).unbind()
    D, bias = torch.zeros(2, directions, channels, device=device).unbind()
    orders = torch.arange(length, device=device).repeat(directions, 1)
    best = float("inf")
    for _ in range(ROUNDS):
        _wait(device)
        start = time.perf_counter()
        y, _, checkpoints = engine.scan_forward(u, delta, A, B, C, D, bias, orders, True)
        engine.scan_backward(y, u, delta, A, B, C, D, bias, orders, True, checkpoints)
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return best


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
