"""Models as nnUNetv2_train leaves them, of networks that were only initialized; and images for them."""

import json
import os
from pathlib import Path

import numpy as np
import SimpleITK
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from PIL import Image

from helpers import tiny_nnunet
from nnunet_mamba import trainers
from nnunet_mamba.nnunet_folders import VARIABLES

RGB = {"0": "R", "1": "G", "2": "B"}
LABELS = {"background": 0, "lesion": 1, "vessel": 2}
REGIONS = {"background": 0, "whole": [1, 2], "core": 2}


def write_model(home: Path, trainer: str, channels, labels, reader: str, folds=(0,), seed=0) -> Path:
    """A model of `trainer` in `home`/results/Dataset009_Tiny, as nnU-Net expects it there; returns its folder."""
    cls = nnUNetTrainer if trainer == "nnUNetTrainer" else getattr(trainers, trainer)
    plans = tiny_nnunet.plans(channels=len(channels)) | {"image_reader_writer": reader}
    plans["configurations"]["2d"] |= {"slicemamba": tiny_nnunet.SMALL_SLICEMAMBA}
    ending = ".png" if reader == "NaturalImage2DIO" else ".nii.gz"
    dataset = {"channel_names": channels, "labels": labels, "numTraining": 1, "file_ending": ending}
    if labels == REGIONS:
        dataset["regions_class_order"] = [1, 2]
    before = dict(os.environ)
    os.environ |= {name: str(home / name.removeprefix("nnUNet_")) for name in VARIABLES}
    try:
        preprocessed = home / "preprocessed" / tiny_nnunet.NAME
        (preprocessed / "nnUNetPlans_2d").mkdir(parents=True, exist_ok=True)
        (preprocessed / "nnUNetPlans_2d" / "case.b2nd").touch()
        (preprocessed / "dataset_fingerprint.json").write_text("{}")
        for fold in folds:
            torch.manual_seed(seed + fold)
            made = cls(plans | {"continue_training": False}, "2d", fold, dataset, torch.device("cpu"))
            made.initialize()
            made._best_ema = np.float64(0.5)  # nnU-Net's checkpoints hold NumPy's numbers
            made.save_checkpoint(str(Path(made.output_folder) / "checkpoint_final.pth"))
        model = Path(made.output_folder_base)
    finally:
        os.environ.clear()
        os.environ.update(before)
    for name, content in (("plans", plans), ("dataset", dataset), ("dataset_fingerprint", {})):
        (model / f"{name}.json").write_text(json.dumps(content))
    for fold in folds:
        (model / f"fold_{fold}" / "validation").mkdir()
        (model / f"fold_{fold}" / "validation" / "summary.json").write_text("{}")
        (model / f"fold_{fold}" / "progress.png").touch()
    return model


def write_pictures(folder: Path, sizes=((40, 36), (32, 32), (30, 50))) -> list[Path]:
    """RGB images CASE_0000.png: smaller or larger than the patch, one with a black border."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(1)
    files = []
    for number, size in enumerate(sizes):
        pixels = generator.integers(1, 255, (*size, 3), dtype=np.uint8)
        pixels[5:20, 8:25] //= 4
        if number == 0:
            pixels[:4] = pixels[:, -3:] = 0
        files.append(folder / f"picture{number}_0000.png")
        Image.fromarray(pixels).save(files[-1])
    return files


def write_stacks(folder: Path, sizes=((2, 30, 30), (1, 25, 50))) -> list[Path]:
    """Volumes CASE_0000.nii.gz of one channel, to be resampled in the plane, with an origin; one with a border of 0."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(2)
    files = []
    for number, size in enumerate(sizes):
        values = generator.normal(100, 20, size).astype(np.float32)
        values[:, 5:20, 8:25] += 50
        if number == 0:
            values[:, :4] = 0
        volume = SimpleITK.GetImageFromArray(values)
        volume.SetSpacing((0.8, 1.3, 3.0))
        volume.SetOrigin((1.0, 2.0, 3.0))
        files.append(folder / f"stack{number}_0000.nii.gz")
        SimpleITK.WriteImage(volume, str(files[-1]))
    return files
