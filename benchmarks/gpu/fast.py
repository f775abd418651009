"""Fast: the Triton engine beside other scans at the networks' shapes, and beside the rate of the card's memory."""

import traceback
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

import contenders
from gpu.parts import Setup
from gpu.report import Report
from gpu.scan_work import copy_rate, directional_inputs, least_bytes
from gpu.settings import DRY_SETTINGS, SETTINGS, compare_settings
from measure import interleaved
from nnunet_mamba.ops import directional_scan, selective_scan

STATES, DRY_STATES = 16, 2
DIRECTIONS = 4
MAPS = {  # (B, D, L) of the networks' scans, as in selective_scan.py: the map that they walk
    (2, 32, 49152): (192, 256),
    (2, 64, 12288): (96, 128),
    (2, 128, 3072): (48, 64),
    (2, 768, 4096): (64, 64),
    (2, 3072, 256): (16, 16),
}
DRY_MAPS = {(1, 4, 6): (2, 3)}
ROUNDS = 7
OTHERS = ("mamba_ssm", "hub")  # compiled CUDA; the hub's knows no orders
Calls = dict[str, Callable[[], Tensor]]


def run(report: Report, setup: Setup) -> None:
    """Per shape a scan of one direction (as mamba-ssm knows it) and of four with orders (as the networks use it)."""
    rows: dict[str, Callable[[], dict]] = {"copy in the card's memory": partial(_copy, setup)}
    for shape, size in (DRY_MAPS if setup.dry else MAPS).items():
        name = "x".join(map(str, shape))
        rows[f"{name} in four orders"] = partial(_row, setup, partial(_in_orders, setup, shape, size))
        rows[f"{name} in one"] = partial(_row, setup, partial(_in_one, setup, shape))
    for shape, size in (DRY_MAPS if setup.dry else MAPS).items():
        name = "x".join(map(str, shape))
        rows[f"{name} in four orders, settings"] = partial(_settings, setup, shape, size)
    report.run(rows)


def _copy(setup: Setup) -> dict:
    return {"GB_per_s": copy_rate(setup.device) / 1e9}


def _in_one(setup: Setup, shape: tuple[int, int, int]) -> tuple[Calls, dict[str, Tensor]]:
    inputs = contenders.scan_inputs(*shape, _states(setup), setup.device)
    scan = partial(selective_scan, **inputs, delta_softplus=True)
    calls: Calls = {engine: partial(scan, engine=engine) for engine in _engines()}
    if (scan_of_hub := _scan_of_hub()) is not None:
        calls["hub"] = partial(scan_of_hub, **inputs, delta_softplus=True)
    return calls, inputs


def _scan_of_hub() -> Callable[..., Tensor] | None:
    """mamba-ssm's scan as Hugging Face compiled it, from the cache on disk or from the network."""
    if find_spec("kernels") is None:
        return None
    from kernels import get_kernel

    try:
        return get_kernel("kernels-community/mamba-ssm").selective_scan_fn
    except Exception:  # no network, or not compiled for this torch: the log says which, the other scans run
        traceback.print_exc()
        return None


def _states(setup: Setup) -> int:
    return DRY_STATES if setup.dry else STATES


def _in_orders(setup: Setup, shape: tuple[int, int, int], size: tuple[int, int]) -> tuple[Calls, dict[str, Tensor]]:
    inputs, orders = directional_inputs(shape, size, DIRECTIONS, _states(setup), setup.device)
    scan = partial(directional_scan, **inputs, orders=orders)
    return {engine: partial(scan, engine=engine) for engine in _engines()}, inputs


def _engines() -> list[str]:
    return ["triton", "torch", *(["mamba_ssm"] if contenders.mamba_ssm_is_installed() else [])]


def _row(setup: Setup, make: Callable[[], tuple[Calls, dict[str, Tensor]]]) -> dict:
    calls, inputs = make()
    rounds = 1 if setup.dry else ROUNDS
    forward = interleaved({name: torch.no_grad()(call) for name, call in calls.items()}, rounds)
    both = interleaved({name: _both(call, inputs.values()) for name, call in calls.items()}, rounds)
    rate = copy_rate(setup.device)
    facts: dict = {"forward_ms": _ms(forward), "both_ms": _ms(both)}
    for kind, times in (("forward", forward), ("both", both)):
        others = {name: round(time / times["triton"], 2) for name, time in times.items() if name != "triton"}
        facts[f"{kind}_times_faster_than"] = others
        at_least = least_bytes(inputs, kind == "both") / rate
        facts[f"{kind}_share_of_memory_rate"] = round(at_least / times["triton"], 3)
    missing = [name for name in OTHERS if name not in calls]
    return facts | ({"not_compared_with": ", ".join(missing)} if missing else {})


def _settings(setup: Setup, shape: tuple[int, int, int], size: tuple[int, int]) -> dict:
    calls, inputs = _in_orders(setup, shape, size)
    step = _both(calls["triton"], inputs.values())
    return compare_settings(step, DRY_SETTINGS if setup.dry else SETTINGS, 1 if setup.dry else ROUNDS)


def _both(call: Callable[[], Tensor], inputs: Iterable[Tensor]) -> Callable[[], tuple[Tensor, ...]]:
    inputs = list(inputs)

    def step() -> tuple[Tensor, ...]:
        y = call()
        return torch.autograd.grad(y, inputs, torch.ones_like(y))

    return step


def _ms(times: dict[str, float]) -> dict[str, float]:
    return {name: round(1000 * time, 4) for name, time in times.items()}
