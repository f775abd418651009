"""How near `nnunet_mamba plan` comes to the memory that a training really takes.

    python benchmarks/memory.py
    python benchmarks/memory.py --device cuda

For ten pairs of patch and batch a network, and a few other numbers of channels and classes: the estimate, the measured peak of
a whole training step, and their ratio. Each step runs in a process of its own, one after the other. On a CPU the peak is that
of the process's resident memory, beyond what it had before the network was made; the kernels are compiled and everything is
imported by then. On CUDA it is what torch had allocated at most, in mixed precision.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
NETWORKS = ("da_mambanet", "dermomamba", "slicemamba")
PAIRS = (  # in_channels, num_classes, patch, batch
    (3, 2, (64, 64), 12),
    (3, 2, (96, 128), 4),
    (3, 2, (100, 140), 5),
    (3, 2, (128, 128), 9),
    (3, 2, (192, 256), 2),
    (3, 2, (192, 256), 7),
    (3, 2, (224, 160), 6),
    (3, 2, (256, 256), 4),
    (3, 2, (320, 448), 2),
    (3, 2, (512, 384), 2),
    (1, 1, (160, 160), 4),
    (4, 4, (160, 224), 3),
    (1, 9, (224, 224), 4),
    (3, 20, (128, 192), 4),
)
# Freed memory goes back at once, so that the resident memory is what is in use: otherwise malloc keeps blocks below 32 MiB.
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
WARM_UP = (32, 32)
STEPS = 2  # the first makes Adam's moments; the peak is in the second


def measured_bytes(device: str, network: str, in_channels: int, num_classes: int, patch: tuple, batch: int) -> int:
    """The peak of a training's second step, in a new process."""
    arguments = [device, network, in_channels, num_classes, *patch, batch]
    done = subprocess.run(
        [sys.executable, __file__, "--one", *map(str, arguments)],
        env=os.environ | MALLOC | {"OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"measuring {arguments} ended with status {done.returncode}: {done.stderr.strip()}")
    return int(done.stdout.split()[-1])


def measure(device: str, network: str, *numbers: str) -> int:
    """In a process of its own: the peak, beyond what there was before the network."""
    import torch

    from nnunet_mamba.planning.recipes import TrainingStep

    in_channels, num_classes, height, width, batch = map(int, numbers)
    TrainingStep(network, in_channels, num_classes, WARM_UP, device)(2)
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    else:
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    step = TrainingStep(network, in_channels, num_classes, (height, width), device)
    for _ in range(STEPS):
        step(batch)
    return (torch.cuda.max_memory_allocated() if device == "cuda" else _status("VmHWM")) - before


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {key}: memory can be measured on Linux only")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--one", nargs=7, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(measure(*args.one))
        return
    from nnunet_mamba.planning.memory import GIB, training_bytes

    rows = []
    print(f"{'network':12} {'in -> out':>9} {'patch':>9} {'batch':>5} {'estimate':>10} {'measured':>10} {'ratio':>6}")
    for network in args.networks:
        for in_channels, num_classes, patch, batch in PAIRS:
            estimate = training_bytes(network, in_channels, num_classes, patch, batch)
            measured = measured_bytes(args.device, network, in_channels, num_classes, patch, batch)
            rows.append(
                {"network": network, "in_channels": in_channels, "num_classes": num_classes, "patch": patch, "batch": batch}
                | {"estimated_bytes": estimate, "measured_bytes": measured, "ratio": round(estimate / measured, 3)}
            )
            print(
                f"{network:12} {in_channels:>3} -> {num_classes:>2} {patch[0]:>5}x{patch[1]:<3} {batch:>5} "
                f"{estimate / GIB:>6.2f} GiB {measured / GIB:>6.2f} GiB {estimate / measured:>6.3f}",
                flush=True,
            )
    file = RESULTS / f"memory_{args.device}.json"
    file.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(f"ratios from {min(row['ratio'] for row in rows)} to {max(row['ratio'] for row in rows)}; written to {file}")


if __name__ == "__main__":
    main()
