"""What exporting our networks takes, and what their ONNX files take on a CPU beside torch with our kernels.

    python benchmarks/export.py
    python benchmarks/export.py --networks slicemamba --sizes 192x256

Per network and size: the seconds and peak memory of a process that only exports, the largest error relative to the
largest logit, and seconds per image of onnxruntime and of ours, on one thread each and in turn, in new processes. The
networks have their initial weights and full size, 3 channels and 2 classes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from nnunet_mamba import catalogue

RESULTS = Path(__file__).parent / "results" / "export_cpu.json"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
GIB = 2**30


def build(key: str, height: int, width: int):
    """The network, with one output, and an image."""
    import torch

    from nnunet_mamba import networks

    cls = getattr(networks, catalogue.network(key).network)
    sized = {} if key == "slicemamba" else {"input_size": (height, width), "deep_supervision": False}
    torch.manual_seed(0)
    torch.set_num_threads(1)
    return cls(3, 2, **sized).eval().requires_grad_(False), torch.randn(2, 3, height, width)


def work(task: str, key: str, height: int, width: int, folder: Path) -> dict:
    """One measurement, in the process that does nothing else."""
    import time

    import numpy as np

    file = folder / "model.onnx"
    if task == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        with np.load(folder / "wanted.npz") as wanted:
            image, logits = wanted["image"], wanted["logits"]
        run = lambda: session.run(None, {"image": image})[0]  # noqa: E731
        error = float(np.abs(run() - logits).max() / np.abs(logits).max())
        return _timed(run) | {"error": error}
    import torch

    network, images = build(key, height, width)
    with torch.no_grad():
        logits = network(images)
        if task == "ours":
            return _timed(lambda: network(images[:1]))
        from nnunet_mamba.export.onnx_file import write_onnx

        np.savez(folder / "wanted.npz", image=images[:1].numpy(), logits=logits[:1].numpy())
        start, cpu = time.perf_counter(), time.process_time()
        write_onnx(network, images, {}, file)
        seconds = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
        return seconds | {"gib": _peak(), "mb": file.stat().st_size / 1e6}


def _timed(run) -> dict:
    import time

    run()
    start, cpu = time.perf_counter(), time.process_time()
    run()
    return {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu, "gib": _peak()}


def _peak() -> float:
    from measure import status_bytes

    return status_bytes("VmHWM") / GIB


def measured(*arguments) -> dict:
    command = [sys.executable, "-W", "ignore", __file__, "--work", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | ONE_THREAD)
    return json.loads(done.stdout.splitlines()[-1])


def compare(key: str, height: int, width: int, rounds: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        exported = measured("export", key, height, width, folder)
        turns = [
            {task: measured(task, key, height, width, folder) for task in ("ours", "onnxruntime")}
            for _ in range(rounds)
        ]
    row = {"network": key, "size": [height, width], "export": exported, "error": turns[0]["onnxruntime"].pop("error")}
    for task in ("ours", "onnxruntime"):
        row[task] = {kind: statistics.median(turn[task][kind] for turn in turns) for kind in turns[0][task]}
    row["ratio"] = statistics.median(turn["onnxruntime"]["seconds"] / turn["ours"]["seconds"] for turn in turns)
    row["cpu_ratio"] = statistics.median(
        turn["onnxruntime"]["cpu_seconds"] / turn["ours"]["cpu_seconds"] for turn in turns
    )
    return row


def line(row: dict) -> str:
    height, width = row["size"]
    exported, ours, theirs = row["export"], row["ours"], row["onnxruntime"]
    return (
        f"{row['network']:12} {height}x{width}: exported in {exported['seconds']:.0f} s "
        f"({exported['cpu_seconds']:.0f} s of the CPU), {exported['gib']:.1f} GiB, {exported['mb']:.0f} MB; "
        f"error {row['error']:.0e}; onnxruntime {theirs['seconds']:.2f} s, {theirs['gib']:.2f} GiB; "
        f"ours {ours['seconds']:.2f} s; ratio {row['ratio']:.1f} ({row['cpu_ratio']:.1f} by CPU time)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    keys = [entry.key for entry in catalogue.NETWORKS if not entry.finds]
    parser.add_argument("--networks", nargs="+", choices=keys, default=keys)
    parser.add_argument("--sizes", nargs="+", default=["192x256", "512x512"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        task, key, height, width, folder = args.work
        print(json.dumps(work(task, key, int(height), int(width), Path(folder))))
        return
    for size in args.sizes:
        height, width = map(int, size.split("x"))
        for key in args.networks:
            row = compare(key, height, width, args.rounds)
            print(line(row), flush=True)
            rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
            rows = [old for old in rows if (old["network"], old["size"]) != (key, [height, width])] + [row]
            RESULTS.write_text("[\n " + ",\n ".join(map(json.dumps, rows)) + "\n]\n")


if __name__ == "__main__":
    main()
