"""How near the estimate of `nnunet_mamba plan` comes to the memory that a training step really takes.

    python benchmarks/memory.py
    python benchmarks/memory.py --device cuda

Per network, ten pairs of patch and batch and two other numbers of channels and classes, each in its own process. On a
CPU it measures how far the peak of resident memory exceeds the memory before the network was made, when everything is
imported and compiled. It does so twice: with a malloc that returns freed memory at once, so that resident memory is
memory in use, and with malloc as it is in a training. On CUDA it measures the most that torch had allocated, in mixed
precision.
"""

import argparse
import ctypes
import gc
import json
import os
from collections.abc import Mapping
from multiprocessing import get_context
from pathlib import Path

import torch

from measure import peak_of
from nnunet_mamba import catalogue
from nnunet_mamba.machine_memory import GIB
from nnunet_mamba.planning.memory import resident_bytes, training_bytes
from nnunet_mamba.planning.training_step import TrainingStep

RESULTS = Path(__file__).parent / "results"
PAIRS = (  # in_channels, num_classes, patch, batch
    (3, 2, (64, 64), 2),
    (3, 2, (64, 64), 8),
    (3, 2, (64, 96), 5),
    (3, 2, (96, 128), 2),
    (3, 2, (100, 140), 2),
    (3, 2, (128, 128), 3),
    (3, 2, (160, 96), 4),
    (3, 2, (192, 160), 2),
    (3, 2, (192, 256), 2),
    (3, 2, (320, 256), 2),
    (1, 1, (96, 96), 4),
    (3, 20, (96, 128), 3),
)
GIVES_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
STEPS = 2


def measured_bytes(device: str, network: str, pairs: tuple, malloc: Mapping[str, str]) -> list[int]:
    """The peak of a training for each of `pairs`, each in its own process with `malloc` in its environment."""
    kept = {name: os.environ.pop(name) for name in GIVES_BACK if name in os.environ}
    os.environ |= malloc
    try:
        peaks = []
        for pair in pairs:
            with get_context("spawn").Pool(1) as pool:
                pool.apply(_train, (device, network, 3, 2, (32, 32), 2))  # imports and compiles everything
                peaks.append(pool.apply(_peak, (device, network, *pair)))
            print(f"{network}: {pair}: {peaks[-1] / GIB:.3f} GiB", flush=True)
        return peaks
    finally:
        for name in malloc:
            del os.environ[name]
        os.environ |= kept


def _train(device: str, network: str, in_channels: int, num_classes: int, patch: tuple, batch: int) -> None:
    step = TrainingStep(network, in_channels, num_classes, patch, device)
    step.make_moments()  # including those of the supernet's paths that these steps do not take
    for state in step.optimizer.state.values():
        for moment in ("exp_avg", "exp_avg_sq"):
            state[moment].add_(0)  # memory is there once it has been written to
    for _ in range(STEPS):
        step(batch)


def _peak(device: str, *case) -> int:
    gc.collect()
    if device == "cpu":
        ctypes.CDLL(None).malloc_trim(0)  # what the first small training left
        return peak_of(lambda: _train(device, *case))
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    _train(device, *case)
    return torch.cuda.max_memory_allocated() - before


def compare(device: str, network: str) -> list[dict]:
    """The rows of a network: estimates and measurements in bytes, and estimate over measurement."""
    rows = [dict(zip(("network", "in_channels", "num_classes", "patch", "batch"), (network, *pair))) for pair in PAIRS]
    if device == "cpu":
        kinds = {"in_use": (training_bytes, GIVES_BACK), "resident": (resident_bytes, {})}
    else:
        kinds = {"in_use": (training_bytes, {})}
    for kind, (estimate, malloc) in kinds.items():
        for row, pair, measured in zip(rows, PAIRS, measured_bytes(device, network, PAIRS, malloc), strict=True):
            estimated = estimate(network, *pair)
            row[kind] = {"estimated": estimated, "measured": measured, "ratio": round(estimated / measured, 4)}
    return rows


def table(rows: list[dict]) -> str:
    """GiB estimated and measured, and their ratio."""
    lines = []
    for row in rows:
        height, width = row["patch"]
        line = f"{row['network']:12} {row['in_channels']:>2} -> {row['num_classes']:<2} "
        line += f"{height:>4} x {width:<4} {row['batch']:>3}"
        for kind in ("in_use", "resident"):
            if kind in row:
                estimated, measured = (row[kind][key] / GIB for key in ("estimated", "measured"))
                line += f"   {kind}: {estimated:6.3f} / {measured:6.3f} = {row[kind]['ratio']:.3f}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    networks = [entry.key for entry in catalogue.NETWORKS]
    parser.add_argument("--networks", nargs="+", choices=networks, default=networks)
    args = parser.parse_args()
    file = RESULTS / f"memory_{args.device}.json"
    for network in args.networks:
        rows = compare(args.device, network)
        print(table(rows), flush=True)
        others = [row for row in json.loads(file.read_text()) if row["network"] != network] if file.exists() else []
        file.write_text("[\n " + ",\n ".join(json.dumps(row) for row in others + rows) + "\n]\n")
    print(f"written to {file}")


if __name__ == "__main__":
    main()
