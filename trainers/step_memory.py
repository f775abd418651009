"""What a trainer's own training step takes, and what its data workers take, counted before any step."""

import copy
import math
from contextlib import nullcontext
from typing import NamedTuple

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

from nnunet_mamba.ops.projected import separate_projections
from nnunet_mamba.trainers.dry_run import BYTES_PER_PARAMETER, peak_bytes, with_what_malloc_keeps


class StepMemory(NamedTuple):
    """Bytes that a training step takes at its peak, weights and the optimiser's moments included."""

    peak: int  # in float32
    parameters: int

    def between(self, device: str) -> tuple[int, int]:
        """What it takes at least and at most on a device of this type.

        On a CPU malloc may keep what is freed. On CUDA mixed precision halves the activations, but not the scan's.
        """
        if device == "cuda":
            weights = BYTES_PER_PARAMETER * self.parameters
            return weights + max(0, self.peak - weights) // 2, self.peak
        return self.peak, with_what_malloc_keeps(*self)


def count_step(trainer: nnUNetTrainer) -> StepMemory:
    """Counts a step of an initialized trainer's network, loss and optimiser, all built anew with fake tensors.

    This takes seconds, whatever the patch and batch, and changes nothing in the trainer.
    """
    parameters = 0

    def train() -> None:
        nonlocal parameters
        twin = copy.copy(trainer)
        twin.device, twin.is_ddp = torch.device("cpu"), False
        twin.network = twin.build_network_architecture(
            twin.plans_manager,
            twin.configuration_manager,
            twin.num_input_channels,
            twin.label_manager.num_segmentation_heads,
            twin.enable_deep_supervision,
        ).train()
        parameters = sum(x.numel() for x in twin.network.parameters())
        optimizer, _ = twin.configure_optimizers()
        loss = twin._build_loss()
        for parameter in twin.network.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()  # makes its moments
        optimizer.zero_grad(set_to_none=True)
        images, target = _batch(twin)
        loss(twin.network(images), target).backward()
        torch.nn.utils.clip_grad_norm_(twin.network.parameters(), 12)

    with nullcontext() if trainer.device.type == "cpu" else separate_projections():
        return StepMemory(peak_bytes(train), parameters)


def _batch(trainer: nnUNetTrainer) -> tuple[torch.Tensor, torch.Tensor | list[torch.Tensor]]:
    """Images and target as nnU-Net's loaders give them, all zero."""
    size, labels = trainer.configuration_manager.patch_size, trainer.label_manager
    channels = len(labels.foreground_regions) + labels.has_ignore_label if labels.has_regions else 1
    scales = trainer._get_deep_supervision_scales()
    sizes = [[round(length * share) for length, share in zip(size, scale)] for scale in scales] if scales else [size]
    dtype = torch.float32 if labels.has_regions else torch.int16
    targets = [torch.zeros(trainer.batch_size, channels, *each, dtype=dtype) for each in sizes]
    images = torch.zeros(trainer.batch_size, trainer.num_input_channels, *size)
    return images, targets if scales else targets[0]


def loaders_bytes(trainer: nnUNetTrainer) -> int:
    """About what nnU-Net's data workers take, with the batches that they keep ready, in bytes of RAM.

    A worker has been measured to take 60 MiB of its own and six times its batch while it makes one.
    """
    workers = get_allowed_n_proc_DA()
    if workers == 0:
        return 0
    size, outputs = trainer.configuration_manager.patch_size, len(trainer._get_deep_supervision_scales() or [1])
    batch = trainer.batch_size * math.prod(size) * (4 * trainer.num_input_channels + 2 * outputs)
    to_validate = max(1, workers // 2)
    kept = 2 * (max(6, workers // 2) + max(3, workers // 4))  # in two queues each, see nnU-Net's get_dataloaders
    return (workers + to_validate) * (60 * 2**20 + 6 * batch) + kept * batch
