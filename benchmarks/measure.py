"""Times and memory on a noisy machine: contenders take turns, and their medians are compared."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

SHORTEST = 0.1  # seconds: a faster contender is called several times per turn


def interleaved(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds per call of each contender. After one call each to warm up, all have a turn in each round."""
    calls = {}
    for name, run in contenders.items():
        run()
        calls[name] = max(1, round(SHORTEST / max(1e-9, _seconds(run, 1))))
    times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            times[name].append(_seconds(run, calls[name]))
    return {name: statistics.median(values) for name, values in times.items()}


def _seconds(run: Callable[[], object], calls: int) -> float:
    _wait_for_device()
    start = time.perf_counter()
    for _ in range(calls):
        run()
    _wait_for_device()
    return (time.perf_counter() - start) / calls


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_bytes(function: Callable[..., Callable[[], object]], *arguments) -> int:
    """Peak bytes of `function(*arguments)()`, beyond its inputs and its results, in a process of its own.

    `function` makes the inputs, warms up, and returns what is measured. It must be importable. Linux, CPU.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (function, arguments))


def _peak(function: Callable[..., Callable[[], object]], arguments: tuple) -> int:
    run = function(*arguments)
    kept = []
    peak = peak_of(lambda: kept.extend(run()))
    return max(0, peak - sum(x.numel() * x.element_size() for x in kept))


def peak_of(run: Callable[[], object]) -> int:
    """Peak of this process's resident memory during `run()`, beyond what it was before. Linux, CPU."""
    before = status_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    run()
    return status_bytes("VmHWM") - before


def status_bytes(key: str) -> int:
    """This process's `VmRSS` (resident memory) or `VmHWM` (the most that it was). Linux."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}: memory can only be measured on Linux")
