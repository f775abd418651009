"""How fast the selective scan is: ratios to other scans, medians of interleaved rounds, and the machine's limits.

    python benchmarks/selective_scan.py                     the whole table, about 20 minutes on two cores
    python benchmarks/selective_scan.py --only scan exp     some of its parts

Prints the table, and writes it as JSON and as a plot to benchmarks/results/ (parts that do not run keep their last
figures). Needs `pip install nnunet-mamba[benchmark]`, which brings mambapy.
"""

import argparse
import json
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

import contenders
import machine
from measure import interleaved, peak_bytes
from nnunet_mamba.blocks.multi_attention_mamba import MultiAttentionMamba
from nnunet_mamba.blocks.ss2d import SS2D
from nnunet_mamba.networks import DAMambaNet
from nnunet_mamba.ops import selective_scan
from plot import plot_results

RESULTS = Path(__file__).parent / "results"
# (B, D, L) of the networks' scans
SHAPES = [(2, 32, 49152), (2, 64, 12288), (2, 128, 3072), (2, 768, 4096), (2, 3072, 256)]
STATES = 16
MAPS = [(4, 192, 256), (8, 96, 128), (16, 48, 64), (32, 24, 32), (96, 64, 64)]  # (C, H, W) of the networks' SS2D blocks
STAGE = (2, 16, 192, 256)  # input of DA-MambaNet's first stage for two 3x192x256 images
BLOCKS_SCAN = "nnunet_mamba.blocks.ss2d.directional_scan"


def scans(inputs: dict[str, Tensor]) -> dict[str, Callable[[], Tensor]]:
    """The contenders on the same inputs. On a GPU also mamba-ssm's kernel, if it is installed."""
    arguments = inputs | {"delta_softplus": True}
    calls = {"ours": lambda: selective_scan(**arguments), "mambapy": lambda: contenders.mambapy_scan(**arguments)}
    if inputs["u"].is_cuda and contenders.mamba_ssm_is_installed():
        calls["mamba_ssm"] = lambda: selective_scan(**arguments, engine="mamba_ssm")
    return calls


def forward(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    return torch.no_grad()(run)


def both(run: Callable[[], Tensor | Iterable[Tensor]], inputs: Iterable[Tensor]) -> Callable[[], list[Tensor]]:
    """Forward and backward; returns the outputs and the gradients of `inputs`."""
    inputs = [x for x in inputs if x.requires_grad]

    def step():
        y = run()
        ys = [y] if isinstance(y, Tensor) else list(y)
        return [*ys, *torch.autograd.grad(ys, inputs, [torch.ones_like(y) for y in ys], allow_unused=True)]

    return step


def over(times: dict[str, float], name: str) -> float:
    """How many times longer than ours `name` takes."""
    return round(times[name] / times["ours"], 2)


def bench_machine(rounds: int, device: str) -> dict:
    """Exponentials and bytes per second, on all threads."""
    size = 2**28
    times = interleaved({"exp": machine.exponentials(machine.EXPONENTIALS), "copy": machine.copy(size)}, rounds)
    return {"Gexp_per_s": machine.EXPONENTIALS / times["exp"] / 1e9, "copied_GB_per_s": 2 * size / times["copy"] / 1e9}


def bench_scan(rounds: int, device: str) -> list[dict]:
    """Against mambapy's parallel scan and the sequential loop, at each shape."""
    return [scan_row(shape, rounds, device) for shape in SHAPES]


def scan_row(shape: tuple[int, int, int], rounds: int, device: str) -> dict:
    inputs = contenders.scan_inputs(*shape, STATES, device)
    calls = scans(inputs)
    forwards = interleaved({name: forward(run) for name, run in calls.items()}, rounds)
    trainings = interleaved({name: both(run, inputs.values()) for name, run in calls.items()}, rounds)
    sequential = {
        "ours": calls["ours"],
        "sequential": lambda: contenders.sequential_scan(**inputs, delta_softplus=True),
    }
    slow = interleaved({name: forward(run) for name, run in sequential.items()}, max(1, rounds // 3))
    row = {"shape": shape, "forward_s": forwards, "both_s": trainings}
    row |= {f"forward_over_{name}": over(forwards, name) for name in forwards if name != "ours"}
    row |= {f"both_over_{name}": over(trainings, name) for name in trainings if name != "ours"}
    row["forward_over_sequential"] = over(slow, "sequential")
    report("scan", row)
    return row


def bench_exp(rounds: int, device: str) -> list[dict]:
    """The time of the forward's exponentials only, as a share of the forward's time.

    Once with the engine's exp2 in registers, once with torch's exp in the cache, all in the same rounds.
    """
    rows = []
    for shape in SHAPES:
        inputs = contenders.scan_inputs(*shape, STATES, device)
        count = shape[0] * shape[1] * shape[2] * STATES
        calls = {
            "ours": forward(scans(inputs)["ours"]),
            "exp2 in registers": machine.exponentials(count),
            "torch exp in cache": machine.torch_exponentials(count),
        }
        times = interleaved(calls, rounds)
        shares = {f"share of {name}": round(times[name] / times["ours"], 3) for name in calls if name != "ours"}
        rows.append({"shape": shape, **shares})
        report("exp", rows[-1])
    return rows


def bench_memory(rounds: int, device: str) -> dict:
    """Peak of forward and backward at L = 49152, beyond inputs and outputs."""
    ours, mambapy = (peak_bytes(scan_step, name, SHAPES[0]) for name in ("ours", "mambapy"))
    row = {
        "shape": SHAPES[0],
        "ours_MB": ours / 1e6,
        "mambapy_MB": mambapy / 1e6,
        "mambapy_over_ours": round(mambapy / ours, 1),
    }
    report("memory", row)
    return row


def scan_step(name: str, shape: tuple[int, int, int]) -> Callable[[], list[Tensor]]:
    """Forward and backward of one scan, its kernels compiled, for a process of its own."""
    small = contenders.scan_inputs(1, 16, 128, STATES, "cpu")
    both(scans(small)[name], small.values())()
    inputs = contenders.scan_inputs(*shape, STATES, "cpu")
    return both(scans(inputs)[name], inputs.values())


def bench_directions(rounds: int, device: str) -> list[dict]:
    """The SS2D block, forward and backward: orders against flipped and transposed maps, with the same engine."""
    return [direction_row(size, rounds, device) for size in MAPS]


def direction_row(size: tuple[int, int, int], rounds: int, device: str) -> dict:
    channels, height, width = size
    block, other = SS2D(channels).to(device), contenders.MaterialisedSS2D(channels).to(device)
    other.load_state_dict(block.state_dict())
    x = torch.randn(2, height, width, channels, device=device, requires_grad=True)
    torch.testing.assert_close(block(x), other(x), atol=1e-4, rtol=1e-4)
    calls = {
        "ours": both(lambda: block(x), [x, *block.parameters()]),
        "materialised": both(lambda: other(x), [x, *other.parameters()]),
    }
    times = interleaved(calls, rounds)
    row = {"map": size, "both_s": times, "both_over_materialised": over(times, "materialised")}
    report("directions", row)
    return row


def bench_network(rounds: int, device: str) -> dict:
    """DA-MambaNet of two 3x192x256 images: forward over the sequential loop, a training step over mambapy.

    With mambapy's scan the whole network's training step takes over 20 GB, so that comparison is made at half
    the height and width, and at full size for the first stage, which has the longest sequences.
    """
    network = DAMambaNet(3, 1, (192, 256)).to(device).eval()
    images = torch.randn(2, 3, 192, 256, device=device)
    calls = {name: forward(scanned_by(name, lambda: network(images)[0])) for name in ("ours", "sequential")}
    row = {"forward_over_sequential": over(interleaved(calls, 1), "sequential")}
    for part in (small_network, first_stage):
        times = interleaved({name: part(name, device) for name in ("ours", "mambapy")}, max(1, rounds // 3))
        row[f"{part.__name__}_both_over_mambapy"] = over(times, "mambapy")
        if device == "cpu":
            ours, mambapy = (peak_bytes(part, name, device) for name in ("ours", "mambapy"))
            row |= {f"{part.__name__}_MB": {"ours": ours / 1e6, "mambapy": mambapy / 1e6}}
            row[f"{part.__name__}_memory_mambapy_over_ours"] = round(mambapy / ours, 1)
    report("network", row)
    return row


def small_network(name: str, device: str) -> Callable[[], list[Tensor]]:
    """A training step of the whole network at half the height and width."""
    network = DAMambaNet(3, 1, (96, 128)).to(device).train()
    images = torch.randn(2, 3, 96, 128, device=device)
    return scanned_by(name, both(lambda: network(images), network.parameters()))


def first_stage(name: str, device: str) -> Callable[[], list[Tensor]]:
    """A training step of the network's first stage at full size."""
    block = MultiAttentionMamba(STAGE[1], 2 * STAGE[1], STAGE[2:]).to(device).train()
    x = torch.randn(STAGE, device=device, requires_grad=True)
    return scanned_by(name, both(lambda: block(x), [x, *block.parameters()]))


def scanned_by(name: str, run: Callable[[], object]) -> Callable[[], object]:
    """`run` with another scan in every SS2D block."""
    if name == "ours":
        return run
    scan = {"sequential": contenders.sequential_scan, "mambapy": contenders.mambapy_scan}[name]

    def patched():
        with patch(BLOCKS_SCAN, contenders.directional_by(scan)):
            return run()

    return patched


def report(part: str, row: dict) -> None:
    """Print one line as soon as it is known: the whole takes minutes."""
    facts = {key: value for key, value in row.items() if not key.endswith("_s")}
    print(f"{part:10}", "  ".join(f"{key} {value}" for key, value in facts.items()), flush=True)


PARTS = {
    "machine": bench_machine,
    "scan": bench_scan,
    "exp": bench_exp,
    "memory": bench_memory,
    "directions": bench_directions,
    "network": bench_network,
}
CPU_ONLY = ("machine", "exp", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to run")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    file = RESULTS / f"selective_scan_{args.device}.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    processor = torch.cuda.get_device_name() if args.device == "cuda" else platform.machine() + " CPU"
    results["on"] = {"processor": processor, "threads": torch.get_num_threads(), "torch": torch.__version__}
    for part in args.only:
        if args.device == "cpu" or part not in CPU_ONLY:
            results[part] = PARTS[part](args.rounds, args.device)
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(results, indent=2) + "\n")
    plot_results(results, file.with_suffix(".png"))
    print(f"written to {file} and {file.with_suffix('.png')}")


if __name__ == "__main__":
    main()
