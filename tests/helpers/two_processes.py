"""Two processes of a distributed training on the CPU, by gloo: a training step of a trainer, in one and shared by both.

nnU-Net takes distributed training to be on CUDA. What it does there is done here, except synchronised batch norm, which
CPUs do not have: layers that depend on the whole batch or on chance are in evaluation mode.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from helpers.trainer_steps import make_batch, make_trainer


def run_in_two(function: str, folder: Path, *arguments) -> Any:
    """The result of `module:function(rank, start, *arguments)` in process 0 of 2; `start` joins the processes."""
    torch.multiprocessing.spawn(_enter, (function, str(folder), arguments), nprocs=2)
    return torch.load(folder / "result.pt", weights_only=True)


def _enter(rank: int, function: str, folder: str, arguments: tuple) -> None:
    torch.set_num_threads(1)
    module, name = function.split(":")

    def start() -> None:
        distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)

    result = getattr(import_module(module), name)(rank, start, *arguments)
    if rank == 0:
        torch.save(result, os.path.join(folder, "result.pt"))
    leave()


def leave() -> None:
    """End this process of a distributed training without Python's own end.

    Gloo's threads may still be freeing tensors then, for which they need the interpreter: without it, they abort the
    process (pytorch#179291).
    """
    distributed.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def trainer_steps(rank: int, start, cases: list[dict]) -> list[dict]:
    """Per case, loss and gradients of a step of one process with the whole batch ("alone") and of two ("both")."""
    alone = [_step(case, slice(None)) if rank == 0 else None for case in cases]
    start()
    results = []
    for case, of_one in zip(cases, alone):
        mine = slice(0, case["first"]) if rank == 0 else slice(case["first"], None)
        results.append({"alone": of_one, "both": _step(case, mine)})
    return results


def stop(rank: int, start, trainer: str, folder: str, results: str) -> dict:
    """Exit status and steps taken of process 0 of a training that gets a SIGTERM in process 1 only."""
    import signal

    from nnunet_mamba.trainers.stop_signals import StopSignals

    start()
    made = make_trainer(trainer, folder, os.path.join(results, str(rank)))
    made.local_rank = rank
    _initialize(made, is_ddp=True)
    made.on_train_epoch_start()
    steps = 0
    with StopSignals() as made._signals:
        made._signals.waits = True
        try:
            for _ in range(4):
                if steps == rank == 1:
                    signal.raise_signal(signal.SIGTERM)
                made.train_step(make_batch(made, 1))
                steps += 1
        except SystemExit as stopped:
            return {"status": stopped.code, "steps": len(made._losses)}
    return {"status": 0, "steps": steps}


def _step(case: dict, samples: slice) -> dict:
    is_ddp = distributed.is_initialized()
    torch.manual_seed(0)
    results = os.path.join(
        case["results"], str(os.getpid())
    )  # each takes itself for the first process, which locks a folder
    trainer = make_trainer(
        case["trainer"], case["folder"], results, batch_dice=case["batch_dice"], batch_size=case["batch"]
    )
    vars(trainer).update(case["attributes"])
    _initialize(trainer, is_ddp)
    trainer.on_train_epoch_start()
    trainer.network.eval()
    whole = make_batch(trainer, case["batch"])
    target = whole["target"]
    if case["nothing_known"]:
        target[: case["first"]] = trainer.label_manager.ignore_label
    batch = {
        "data": whole["data"][samples],
        "target": [part[samples] for part in target] if isinstance(target, list) else target[samples],
    }
    loss = torch.as_tensor(trainer.train_step(batch)["loss"]).double()
    network = trainer.network.module if is_ddp else trainer.network
    gradients = {name: x.grad.clone() for name, x in network.named_parameters() if x.grad is not None and x.grad.any()}
    if is_ddp:
        for _ in range(case["more_steps"]):
            trainer.train_step(batch)  # which notices what had no gradient in the step before
        distributed.all_reduce(loss)
        loss /= 2
    return {"loss": loss.item(), "gradients": gradients}


def _initialize(trainer, is_ddp: bool) -> None:
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunet

    trainer.is_ddp = is_ddp
    with (
        mock.patch.object(nnunet, "DDP", lambda network, device_ids: DistributedDataParallel(network)),
        mock.patch.object(nn.SyncBatchNorm, "convert_sync_batchnorm", lambda network: network),
    ):
        trainer.initialize()
