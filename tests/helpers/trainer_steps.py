"""Our trainers as nnU-Net makes them, on the CPU and in this process, and batches for their steps."""

import json
import os
from pathlib import Path
from unittest import mock

import torch
from torch import distributed
from torch.nn.functional import interpolate

from helpers.nnunet_home import SIZES
from nnunet_mamba import catalogue, trainers

TRAINERS = tuple(catalogue.names())


def make_trainer(name: str, preprocessed: str | Path, results: str | Path, **settings):
    """Trainer `name` for fold 0 of the planned data set in `preprocessed`, on patches of 32 x 32, not yet initialized.

    `settings` change the configuration. A network whose size plans may set is small.
    """
    preprocessed = Path(preprocessed)
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text()) | {"continue_training": False}
    plans["configurations"]["2d"] |= {"patch_size": [32, 32]} | settings
    entry, _ = catalogue.find(name)
    if entry.sizes:
        plans["configurations"]["2d"][entry.sizes_entry] = SIZES
    dataset = json.loads((preprocessed / "dataset.json").read_text())
    # in distributed training nnU-Net takes the device to be CUDA
    alone = mock.patch.object(distributed, "is_initialized", lambda: False)
    folders = {"nnUNet_preprocessed": str(preprocessed.parent), "nnUNet_results": str(results)}
    with alone, mock.patch.dict(os.environ, folders):
        return getattr(trainers, name)(plans, "2d", 0, dataset, torch.device("cpu"))


def make_batch(trainer, samples: int, seed: int = 1) -> dict:
    """Noise and labels as from nnU-Net's loaders. With an ignore label, most of the first sample is to be ignored."""
    generator = torch.Generator().manual_seed(seed)
    size = trainer.configuration_manager.patch_size
    data = torch.randn(samples, trainer.num_input_channels, *size, generator=generator)
    labels = torch.randint(0, 3, (samples, 1, *size), generator=generator)
    if trainer.label_manager.has_ignore_label:
        labels[0, :, : size[0] * 3 // 4] = 3
    target = labels.float()
    if trainer.label_manager.has_regions:
        target = torch.cat([(labels == 1) | (labels == 2), labels == 2, labels == 3], dim=1).float()
    scales = trainer._get_deep_supervision_scales() if trainer.enable_deep_supervision else None
    if scales is not None:
        sizes = ([round(length * factor) for length, factor in zip(size, scale)] for scale in scales)
        target = [interpolate(target, size, mode="nearest") for size in sizes]
    return {"data": data, "target": target}
