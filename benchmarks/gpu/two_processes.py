"""Two processes of one distributed training: by nccl with a GPU each, by gloo on the one GPU or the CPU.

nccl refuses two processes on one GPU, and nnU-Net's command takes as many GPUs as processes. On one card, what that
command does in each process is therefore done here, by gloo.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from gpu.parts import Setup
from gpu.report import Missed
from gpu.trainer import compiling, default_plans, describe_data_set, make_trainer

STEPS, DRY_STEPS = 20, 2
SAME = 1e-6  # relative: both processes take the same step, so only rounding may tell them apart


def train_in_two(setup: Setup, name: str) -> dict:
    """Training steps on halves of batches.

    Raises:
        Missed: a loss is not finite, or the processes' weights differ in the end.
    """
    folder = describe_data_set(setup.work, setup.dry)
    plans = default_plans(setup.dry)
    backend = "nccl" if setup.device == "cuda" and torch.cuda.device_count() > 1 else "gloo"
    for old in (setup.work / name for name in ("two_processes", "process_0.json", "process_1.json")):
        old.unlink(missing_ok=True)
    torch.multiprocessing.spawn(_train, (setup, name, plans, folder, backend), nprocs=2)
    results = [json.loads((setup.work / f"process_{rank}.json").read_text()) for rank in (0, 1)]
    losses, weights = ([result[key] for result in results] for key in ("losses", "weights"))
    facts = {"backend": backend, "losses": [(of_one[0], of_one[-1]) for of_one in losses]}
    if not all(math.isfinite(loss) for of_one in losses for loss in of_one):
        raise Missed(f"got the losses {losses}, wanted finite ones", facts)
    off = max(abs(a - b) / max(abs(a), 1e-12) for a, b in zip(*weights, strict=True))
    if not off <= SAME:
        raise Missed(f"the processes' weights differ by {off:.1e}, wanted at most {SAME:g}", facts)
    return facts


def _train(rank: int, setup: Setup, name: str, plans: dict, folder: Path, backend: str) -> None:
    """One of the two processes."""
    os.environ["nnUNet_results"] = str(setup.work / f"process_{rank}")  # each locks its folder
    from helpers.trainer_steps import make_batch

    device, local_rank = setup.device, 0
    if backend == "nccl":
        device, local_rank = f"cuda:{rank}", rank
    if setup.device == "cuda":
        torch.cuda.set_device(local_rank)
    store = f"file://{setup.work / 'two_processes'}"
    distributed.init_process_group(backend, init_method=store, rank=rank, world_size=2)
    torch.manual_seed(0)
    with compiling(False, setup.dry), _as_on_gpus(setup.device):
        trainer = make_trainer(name, plans, folder, device)
        trainer.is_ddp, trainer.local_rank, trainer.device = True, local_rank, torch.device(device)
        trainer.initialize()
        trainer.on_train_epoch_start()
        batch = make_batch(trainer, trainer.batch_size, seed=rank)
        losses = [float(trainer.train_step(batch)["loss"]) for _ in range(DRY_STEPS if setup.dry else STEPS)]
    weights = [x.detach().double().abs().sum().item() for x in trainer.network.parameters()]
    (setup.work / f"process_{rank}.json").write_text(json.dumps({"losses": losses, "weights": weights}))
    distributed.destroy_process_group()


@contextmanager
def _as_on_gpus(device: str) -> Iterator[None]:
    """On a CPU, without what only GPUs have: a device per process, and batch norm over all processes."""
    if device == "cuda":
        yield
        return
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunet

    with (
        mock.patch.object(nnunet, "DDP", lambda network, device_ids: DistributedDataParallel(network)),
        mock.patch.object(nn.SyncBatchNorm, "convert_sync_batchnorm", lambda network: network),
    ):
        yield
