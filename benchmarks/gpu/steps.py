"""Steps: a whole training step of each trainer beside nnU-Net's own, run by nnU-Net's own `train_step`.

On a GPU that is mixed precision with a scaler, with torch.compile off and on; at the batch that nnU-Net plans for all
alike, and at the one that `nnunet_mamba plan` gives for the memory of this card.
"""

import gc
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch

from gpu.parts import Setup
from gpu.profile import profiled
from gpu.report import LeftOut, Missed, Report
from gpu.trainer import DRY_SIZES, STOCK, compiling, default_plans, describe_data_set, make_trainer, memory_plans
from nnunet_mamba import catalogue
from nnunet_mamba.machine_memory import GIB

WARM_UP, STEPS = 3, 10
WITHIN = 0.2  # how far the estimate of the memory may be from what a step takes
SMALL = f"{catalogue.network('slicemamba').trainer},"
AS_NNUNET, AS_MEMORY = "nnU-Net's batch", "the memory's batch"


def run(report: Report, setup: Setup) -> None:
    """nnU-Net's batch without torch.compile first: what most trainings meet, and no minutes of compiling."""
    for package in ("nnunetv2", "nnunet_mamba.trainers"):
        if find_spec(package) is None:
            raise LeftOut(f"{package} is not installed here: pip install nnunet-mamba, or --wheels DIR")
    trainers = [STOCK, *(entry.trainer for entry in catalogue.entries())]  # most wanted first
    with_memory = [entry.trainer for entry in catalogue.NETWORKS]
    rows: dict[str, Callable[[], dict]] = {}
    for batch, names in ((AS_NNUNET, trainers), (AS_MEMORY, with_memory)):
        for compiled in (False, True):
            for name in names:
                row = f"{name}, {batch}, torch.compile {'on' if compiled else 'off'}"
                rows[row] = partial(_row, setup, name, batch, compiled)
    if setup.dry:  # nnU-Net's own and one that plans can make small
        tried = (f"{STOCK}, {AS_NNUNET}, torch.compile off", *(row for row in rows if row.startswith(SMALL)))
        rows = {row: rows[row] for row in tried}
    report.run(rows)


def _row(setup: Setup, name: str, batch: str, compiled: bool) -> dict:
    folder = describe_data_set(setup.work, setup.dry)
    entry = next((entry for entry in catalogue.NETWORKS if entry.trainer == name), None)
    plans = default_plans(setup.dry) if batch == AS_NNUNET else memory_plans(entry.key, setup.dry)
    configuration = plans["configurations"]["2d"]
    with compiling(compiled, setup.dry):
        before = _allocated(setup.device)
        trainer = make_trainer(name, plans, folder, setup.device)
        trainer.initialize()
        trainer.on_train_epoch_start()
        step = partial(trainer.train_step, _batch(trainer, setup.device))
        start = time.monotonic()
        losses = [float(step()["loss"]) for _ in range(1 if setup.dry else WARM_UP)]
        facts: dict = {
            "patch": "x".join(map(str, configuration["patch_size"])),
            "batch": configuration["batch_size"],
            "warm_up_s": round(time.monotonic() - start, 1),
            "step_ms": round(1000 * _seconds(step, 1 if setup.dry else STEPS), 2),
            "loss": losses[-1],
        }
        if setup.device == "cuda":
            facts["peak_GiB"] = round((torch.cuda.max_memory_allocated() - before) / GIB, 3)
            facts["reserved_GiB"] = round(torch.cuda.max_memory_reserved() / GIB, 3)
        plan = "nnunet" if batch == AS_NNUNET else "memory"
        file = setup.folder / "traces" / f"{name}_{plan}_{'compiled' if compiled else 'eager'}.json.gz"
        facts |= profiled(step, setup.device, file)
    if entry:
        _compare_memory(facts, entry, configuration, setup)
    return facts


def _batch(trainer, device: str) -> dict:
    """Noise and labels, in pinned memory as nnU-Net's loaders leave them."""
    from helpers.trainer_steps import make_batch

    batch = make_batch(trainer, trainer.configuration_manager.batch_size)
    if device == "cpu":
        return batch
    target = batch["target"]
    pinned = [x.pin_memory() for x in target] if isinstance(target, list) else target.pin_memory()
    return {"data": batch["data"].pin_memory(), "target": pinned}


def _seconds(step: Callable[[], dict], steps: int) -> float:
    """The median of `steps`: nnU-Net's step ends by reading its loss, which waits for the GPU."""
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _allocated(device: str) -> int:
    if device != "cuda":
        return 0
    gc.collect()  # the trainer of the row before
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _compare_memory(facts: dict, entry: catalogue.Entry, configuration: dict, setup: Setup) -> None:
    """Add the estimate.

    Raises:
        Missed: the estimate is further off than allowed.
    """
    from nnunet_mamba.planning.memory import training_bytes

    sizes = tuple(DRY_SIZES.items()) if setup.dry and entry.sizes else ()
    patch, batch = configuration["patch_size"], configuration["batch_size"]
    facts["estimated_GiB"] = round(training_bytes(entry.key, 3, 3, patch, batch, sizes, on_gpu=True) / GIB, 3)
    if "peak_GiB" not in facts:
        return
    facts["estimate_over_peak"] = ratio = round(facts["estimated_GiB"] / facts["peak_GiB"], 3)
    if abs(ratio - 1) > WITHIN:
        raise Missed(
            f"the estimate is {ratio:.2f} of the measured peak, wanted {1 - WITHIN:g} to {1 + WITHIN:g}", facts
        )
