"""Two processes of a distributed training on the CPU, by gloo: a training step of a trainer, alone and shared by both.

nnU-Net takes distributed training to be on CUDA; what it does there is done here, but for synchronised batch norm, which CPUs
do not have: layers that look at the whole batch or at chance are in evaluation mode.
"""

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import distributed, nn
from torch.nn.functional import interpolate
from torch.nn.parallel import DistributedDataParallel


def run_in_two(function: str, folder: Path, *arguments) -> Any:
    """What `module:function` returns in process 0 of 2, each called with (rank, start, *arguments); `start` joins them."""
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
    distributed.destroy_process_group()


def trainer_steps(rank: int, start, cases: list[dict]) -> list[dict]:
    """For each case, the loss and the gradients of a step of one process with the whole batch ("alone") and of two ("both")."""
    alone = [_step(case, slice(None)) if rank == 0 else None for case in cases]
    start()
    results = []
    for case, of_one in zip(cases, alone):
        mine = slice(0, case["first"]) if rank == 0 else slice(case["first"], None)
        results.append({"alone": of_one, "both": _step(case, mine)})
    return results


def _step(case: dict, samples: slice) -> dict:
    is_ddp = distributed.is_initialized()
    trainer = _trainer(case, is_ddp)
    trainer.on_train_epoch_start()
    trainer.network.eval()
    generator = torch.Generator().manual_seed(1)
    size = trainer.configuration_manager.patch_size
    shape = (case["batch"], trainer.num_input_channels, *size)
    data = torch.randn(shape, generator=generator)
    labels = torch.randint(0, 3, (case["batch"], 1, *size), generator=generator)
    if trainer.label_manager.has_ignore_label:
        labels[0, :, :24] = 3  # much in one process, nothing in the other
    target = labels.float()
    if trainer.label_manager.has_regions:
        target = torch.cat([(labels == 1) | (labels == 2), labels == 2, labels == 3], dim=1).float()
    scales = trainer._get_deep_supervision_scales() if trainer.enable_deep_supervision else None
    if scales is not None:
        sizes = ([round(length * factor) for length, factor in zip(size, scale)] for scale in scales)
        target = [interpolate(target, size, mode="nearest") for size in sizes]
    share = [part[samples] for part in target] if isinstance(target, list) else target[samples]
    batch = {"data": data[samples], "target": share}
    loss = torch.as_tensor(trainer.train_step(batch)["loss"]).double()
    named = trainer.network.module if is_ddp else trainer.network
    gradients = {name: x.grad.clone() for name, x in named.named_parameters() if x.grad is not None and x.grad.any()}
    if is_ddp:
        for _ in range(case["more_steps"]):
            trainer.train_step(batch)  # which notices what had no gradient in the step before
        distributed.all_reduce(loss)
        loss /= 2
    return {"loss": loss.item(), "gradients": gradients}


def _trainer(case: dict, is_ddp: bool):
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunet

    from nnunet_mamba.ext import nnunet_mamba_trainers

    plans = json.loads(Path(case["folder"], "nnUNetPlans.json").read_text()) | {"continue_training": False}
    plans["configurations"]["2d"] |= {"batch_dice": case["batch_dice"], "batch_size": case["batch"], "patch_size": [32, 32]}
    if "Slice" in case["trainer"]:
        sizes = {"dims": (8, 16, 32), "depths": (1, 2, 1), "depths_decoder": (1, 1, 1)}
        plans["configurations"]["2d"]["architecture"] = {
            "network_class_name": "nnunet_mamba.networks.SliceMamba", "arch_kwargs": sizes
        }  # fmt: skip
    dataset = json.loads(Path(case["folder"], "dataset.json").read_text())
    torch.manual_seed(0)
    with (
        mock.patch.object(distributed, "is_initialized", lambda: False),
        mock.patch.dict(os.environ, nnUNet_preprocessed=str(Path(case["folder"]).parent), nnUNet_results=case["results"]),
    ):
        trainer = getattr(nnunet_mamba_trainers, case["trainer"])(plans, "2d", 0, dataset, torch.device("cpu"))
    trainer.is_ddp = is_ddp
    with (
        mock.patch.object(nnunet, "DDP", lambda network, device_ids: DistributedDataParallel(network)),
        mock.patch.object(nn.SyncBatchNorm, "convert_sync_batchnorm", lambda network: network),
    ):
        trainer.initialize()
    return trainer
