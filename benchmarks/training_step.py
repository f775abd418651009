"""What a training step and a prediction cost beside stock nnU-Net's, on this machine's CPU.

    python benchmarks/training_step.py                        every row
    python benchmarks/training_step.py --rows step --rounds 9

Each trainer has a process of its own, made as `nnUNetv2_train` and `nnUNetv2_predict` make it: from nnU-Net's plans for
images of 192x256 with three channels, in the environment of a plain shell. The processes take turns, so that a noisy
machine is noisy for all. Rows: `step` is nnU-Net's `train_step` with a batch of 4, and the most memory that the process
held; `forward` is the network in inference mode with a batch of one; `busy` is `step` while another process keeps one
core busy. Stock nnU-Net runs as it is, and once more with the allocator's setting that our trainers make
(nnunet_mamba/heap.py): ratios are over the faster of the two.

Writes benchmarks/results/training_step_cpu.json.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from tqdm import trange

from measure import status_bytes
from nnunet_mamba import catalogue, heap
from nnunet_mamba.machine_memory import GIB

RESULTS = Path(__file__).parent / "results"
TESTS = str(Path(__file__).resolve().parents[1] / "tests")
STOCK, STOCK_KEEPING = "nnUNetTrainer", "nnUNetTrainer, keeping memory"
NAMES = (STOCK, STOCK_KEEPING, *(entry.trainer for entry in catalogue.NETWORKS if not entry.finds))
BATCH, SIZE = 4, (192, 256)
ROWS = ("step", "forward", "predict", "busy")
PREDICTED = 40  # images
KEEPING = {  # what our trainers set, as variables; never trimmed
    "MALLOC_MMAP_THRESHOLD_": heap.KEEP[heap.MMAP_THRESHOLD],
    "MALLOC_TOP_PAD_": heap.KEEP[heap.TOP_PAD],
    "MALLOC_TRIM_THRESHOLD_": 2**40,
}


def serve(connection: Connection, name: str, row: str, folder: Path, plans: dict) -> None:
    """In a process of its own: run what `row` measures whenever asked to, and answer with its seconds."""
    with redirect_stdout(io.StringIO()):
        run = prepare(name, row, folder, plans)
        for _ in range(1 if row == "predict" else 2):
            run()
    connection.send(None)
    while connection.poll(None) and connection.recv():
        start = time.perf_counter()
        run()
        connection.send((time.perf_counter() - start, status_bytes("VmHWM")))


def prepare(name: str, row: str, folder: Path, plans: dict) -> Callable[[], object]:
    sys.path.append(TESTS)
    from gpu.trainer import make_trainer
    from helpers.trainer_steps import make_batch

    if name == STOCK_KEEPING:
        heap.keep_freed_memory()
    trainer = make_trainer(name.split(",")[0], plans, folder, "cpu")
    trainer.initialize()
    if row == "predict":
        return predict_command(trainer, folder.parent / f"model of {name}", name == STOCK_KEEPING)
    if row == "forward":
        trainer.set_deep_supervision_enabled(False)
        network: nn.Module = trainer.network.eval()
        image = torch.randn(1, 3, *SIZE)
        return torch.inference_mode()(lambda: network(image))
    trainer.on_train_epoch_start()
    batch = make_batch(trainer, BATCH)
    return lambda: trainer.train_step(batch)


def predict_command(trainer, model: Path, keeping: bool) -> Callable[[], object]:
    """What a user types, on the weights as they were initialized."""
    (model / "fold_0").mkdir(parents=True)
    for name, content in (("plans.json", trainer.plans_manager.plans), ("dataset.json", trainer.dataset_json)):
        (model / name).write_text(json.dumps(content))
    trainer.save_checkpoint(str(model / "fold_0" / "checkpoint_final.pth"))
    images, output = model.parent / "images", model / "predictions"
    command = [str(Path(sys.executable).with_name("nnUNetv2_predict_from_modelfolder"))]
    command += ["-m", str(model), "-i", str(images), "-o", str(output), "-f", "0", "-device", "cpu"]
    environment = os.environ | ({key: str(value) for key, value in KEEPING.items()} if keeping else {})
    return lambda: subprocess.run(command, env=environment, check=True, capture_output=True)


def write_images(folder: Path) -> None:
    from nnunet_mamba.demo.phantom import write_phantom

    folder.mkdir()
    found = write_phantom(folder.parent, PREDICTED, SIZE).rglob("*_Dermoscopic_Image/*.bmp")
    for number, file in enumerate(sorted(found)):
        Image.open(file).convert("RGB").save(folder / f"image{number:02}_0000.png")


def measure(row: str, names: tuple[str, ...], rounds: int, folder: Path, plans: dict) -> dict[str, dict]:
    """Median seconds and peak memory of each trainer; they take turns."""
    context = get_context("spawn")
    servers = {}
    for name in names:
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, name, row, folder, plans), daemon=True)
        process.start()
        theirs.close()  # so that `recv` ends with the process
        servers[name] = (process, ours)
    for _, connection in servers.values():
        connection.recv()
    busy = context.Process(target=keep_busy, daemon=True)
    if row == "busy":
        busy.start()
    answers: dict[str, list] = {name: [] for name in names}
    for _ in trange(rounds, desc=row):
        for name, (_, connection) in servers.items():
            connection.send(True)
            answers[name].append(connection.recv())
    for process, connection in servers.values():
        connection.send(False)
        process.join()
    if row == "busy":
        busy.kill()
    return {
        name: {
            "seconds": round(statistics.median(seconds for seconds, _ in found), 4),
            "rounds": [round(seconds, 4) for seconds, _ in found],
            "peak_GiB": round(max(peak for _, peak in found) / GIB, 3),
        }
        for name, found in answers.items()
    }


def keep_busy() -> None:
    """One core, for ever: half arithmetic, half memory, as other work is."""
    torch.set_num_threads(1)
    a, b = torch.randn(256, 256), torch.randn(2**22)
    while True:
        a = (a @ a).clamp(-1, 1)
        b.neg_()


def with_ratios(found: dict[str, dict]) -> dict[str, dict]:
    stock = min(found[name]["seconds"] for name in (STOCK, STOCK_KEEPING) if name in found)
    return {name: values | {"over_stock": round(values["seconds"] / stock, 3)} for name, values in found.items()}


def table(row: str, found: dict[str, dict]) -> str:
    lines = [f"{row:32} {'ms':>8} {'over stock':>11} {'peak GiB':>9}"]
    for name, values in found.items():
        lines.append(f"{name:32} {1e3 * values['seconds']:8.1f} {values['over_stock']:11.2f} {values['peak_GiB']:9.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--trainers", nargs="+", choices=NAMES, default=list(NAMES), metavar="TRAINER")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    sys.path.append(TESTS)
    from gpu.trainer import default_plans, describe_data_set

    file = RESULTS / "training_step_cpu.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    for row in args.rows:
        with tempfile.TemporaryDirectory() as work:
            folder = describe_data_set(Path(work), dry=False)
            plans = default_plans(dry=False)
            plans["configurations"]["2d"] |= {"patch_size": list(SIZE), "batch_size": BATCH}
            if row == "predict":
                write_images(folder.parent / "images")
            found = with_ratios(measure(row, tuple(args.trainers), args.rounds, folder, plans))
        print(table(row, found), flush=True)
        if set(found) == set(NAMES):
            results[row] = found
            results["machine"] = {"cpus": os.cpu_count(), "torch": torch.__version__}
            file.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
