"""The scan with its parameters, at the sizes of DA-MambaNet's first two stages: state updates per second, in turn.

    python benchmarks/projected_scan.py
    NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx2,+fma,-avx512f python benchmarks/projected_scan.py
    NUMBA_CPU_NAME=nehalem NUMBA_CPU_FEATURES=+sse4.2,-avx,-avx2,-fma,-avx512f python benchmarks/projected_scan.py

The other lines show machines with AVX2 only and with neither. With NUMBA_CPU_NAME alone, Numba keeps the features of
the machine that it runs on.
"""

import statistics
import time
from collections.abc import Callable

import torch

from nnunet_mamba import heap
from nnunet_mamba.ops import cross_scan_orders, projected_scan

BATCH, DIRECTIONS, STATES = 8, 4, 16
MAPS = {"8 channels, 192x256": (8, 192, 256), "16 channels, 96x128": (16, 96, 128)}
ROUNDS = 9


def passes(channels: int, height: int, width: int) -> tuple[int, Callable[[], object], Callable[[], object]]:
    """State updates of a pass; the forward pass; forward and backward."""
    orders = cross_scan_orders(height, width, torch.device("cpu"))
    x = torch.randn(BATCH, channels, height * width, requires_grad=True)
    shapes = (1 + 2 * STATES, channels), (channels, 1), (channels, STATES), (channels,), (channels,)
    into_scan, into_delta, A, D, bias = (torch.rand(DIRECTIONS, *shape) * 0.2 for shape in shapes)
    weights = [tensor.requires_grad_() for tensor in (into_scan, into_delta, -0.5 - A, D, bias)]
    grad = torch.randn_like(x)

    def both() -> None:
        projected_scan(x, *weights, orders).backward(grad)

    return DIRECTIONS * STATES * x.numel(), torch.no_grad()(lambda: projected_scan(x, *weights, orders)), both


def main() -> None:
    heap.keep_freed_memory()
    made = {name: passes(*sizes) for name, sizes in MAPS.items()}
    rates: dict[str, list[list[float]]] = {name: [[], []] for name in made}
    for number in range(ROUNDS):
        for name, (updates, *runs) in made.items():
            for found, run in zip(rates[name], runs):
                start = time.perf_counter()
                run()
                if number:  # the first compiles
                    found.append(updates / (time.perf_counter() - start) / 1e9)
    print(f"{'10^9 state updates per second':32} {'forward':>8} {'and backward':>13}")
    for name, (forward, both) in rates.items():
        print(f"{name:32} {statistics.median(forward):8.2f} {statistics.median(both):13.2f}")


if __name__ == "__main__":
    main()
