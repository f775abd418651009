"""Trainers as nnU-Net makes them, from plans for a data set that is described but for one image not there."""

import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image

from nnunet_mamba import catalogue

STOCK = "nnUNetTrainer"
ID, NAME = 502, "Dataset502_Described"
IMAGES, SIZE = 2594, (192, 256)  # as many as ISIC 2018 has; the plans depend on both
DRY_IMAGES, DRY_SIZE, DRY_MEMORY = 8, (32, 32), 4
FOREGROUND = {"mean": 120.0, "std": 40.0, "percentile_00_5": 20.0, "percentile_99_5": 240.0}
DRY_SIZES = {"dims": (8, 16, 32), "depths": (1, 2, 1), "depths_decoder": (1, 1, 1)}


def describe_data_set(work: Path, dry: bool) -> Path:
    """Write a raw and a preprocessed folder with all that planning asks for; returns the preprocessed one.

    The labels are three, as the batches of tests/helpers have.
    """
    height, width = DRY_SIZE if dry else SIZE
    folders = {name: work / name for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    os.environ.update({name: str(folder) for name, folder in folders.items()})
    os.environ.update({"nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "1"})
    raw, folder = (folders[name] / NAME for name in ("nnUNet_raw", "nnUNet_preprocessed"))
    for place in (raw / "imagesTr", raw / "labelsTr", folder, folders["nnUNet_results"]):
        place.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(raw / "imagesTr" / "a_0000.png")
    Image.fromarray(np.zeros((height, width), np.uint8)).save(raw / "labelsTr" / "a.png")
    description = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "lesion": 1, "core": 2},
        "numTraining": DRY_IMAGES if dry else IMAGES,
        "file_ending": ".png",
    }
    fingerprint = {
        "spacings": [[999.0, 1.0, 1.0]],
        "shapes_after_crop": [[1, height, width]],
        "foreground_intensity_properties_per_channel": dict.fromkeys("012", FOREGROUND),
        "median_relative_size_after_cropping": 1.0,
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    (folder / "dataset.json").write_text(json.dumps(description))
    (folder / "dataset_fingerprint.json").write_text(json.dumps(fingerprint))
    (folder / "nnUNetPlans_2d").mkdir(exist_ok=True)
    (folder / "nnUNetPlans_2d" / "a.b2nd").touch()  # a trainer looks at the ending only, until it loads data
    return folder


def default_plans(dry: bool) -> dict:
    """nnU-Net's own plans for the data set."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiment_dataset

    with redirect_stdout(io.StringIO()):
        plans = plan_experiment_dataset(ID)[0]
    return small(plans) if dry else plans


def memory_plans(key: str, dry: bool) -> dict:
    """The plans that `nnunet_mamba plan --network KEY` makes for the memory of this card."""
    from nnunet_mamba.planning.budget import budget
    from nnunet_mamba.planning.run import plan

    with redirect_stdout(io.StringIO()):
        planned = plan(str(ID), key, budget(gpu_memory=DRY_MEMORY if dry else None), overwrite=True)
    plans = json.loads(planned.file.read_text())
    return small(plans) if dry else plans


def make_trainer(name: str, plans: dict, folder: Path, device: str):
    """Trainer `name` for fold 0 of the data set in `folder`, not yet initialized.

    In distributed training nnU-Net takes each process to have a GPU of its own, and to know which before this.
    """
    dataset = json.loads((folder / "dataset.json").read_text())
    with mock.patch.object(torch.distributed, "is_initialized", lambda: False):
        return trainer_class(name)(plans | {"continue_training": False}, "2d", 0, dataset, torch.device(device))


def trainer_class(name: str) -> type:
    """nnU-Net's own, or one of the catalogue's."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from nnunet_mamba import trainers

    return nnUNetTrainer if name == STOCK else getattr(trainers, name)


def small(plans: dict) -> dict:
    """The plans with small networks, where plans may set their sizes."""
    sizes = {entry.sizes_entry: DRY_SIZES for entry in catalogue.NETWORKS if entry.sizes}
    return plans | {"configurations": {"2d": plans["configurations"]["2d"] | sizes}}


@contextmanager
def compiling(on: bool, dry: bool) -> Iterator[None]:
    """nnU-Net's torch.compile on or off. On a CPU nnU-Net has none: a dry run adds one that builds nothing."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch._dynamo.reset()
    with mock.patch.dict(os.environ, {"nnUNet_compile": "T" if on else "F"}):
        if not (on and dry):
            yield
            return
        by_eager = partial(torch.compile, backend="eager")
        with (
            mock.patch.object(nnUNetTrainer, "_do_i_compile", lambda self: True),
            mock.patch("torch.compile", by_eager),
        ):
            yield
