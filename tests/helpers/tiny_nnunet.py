"""A preprocessed nnU-Net data set of generated images, made in this process in a moment, and trainers on it."""

import json
from pathlib import Path

import numpy as np
import torch
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from PIL import Image

NAME = "Dataset009_Tiny"
SMALL_SLICEMAMBA = {"dims": [8, 16, 32, 64], "depths": [1] * 4, "depths_decoder": [1] * 4}


def plans(patch_size=(32, 32), channels=1, batch_size=2):
    """A plans file with a 2d configuration of a U-Net of three stages."""
    resampling = {"order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "nnUNetPlans_2d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": batch_size,
        "patch_size": list(patch_size),
        "median_image_size_in_voxels": [float(length) for length in patch_size],
        "spacing": [1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"] * channels,
        "use_mask_for_norm": [False] * channels,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling | {"is_seg": False},
        "resampling_fn_seg_kwargs": resampling | {"is_seg": True},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": resampling | {"is_seg": False},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 3,
                "features_per_stage": [4, 8, 16],
                "conv_op": "torch.nn.modules.conv.Conv2d",
                "kernel_sizes": [[3, 3]] * 3,
                "strides": [[1, 1], [2, 2], [2, 2]],
                "n_conv_per_stage": [1] * 3,
                "n_conv_per_stage_decoder": [1] * 2,
                "conv_bias": True,
                "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": True,
    }
    return {
        "dataset_name": NAME,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [999.0, 1.0, 1.0],
        "original_median_shape_after_transp": [1, *patch_size],
        "image_reader_writer": "NaturalImage2DIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"2d": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(channel): {} for channel in range(channels)},
    }


def discs(count, size=(40, 36), seed=0):
    """{name: (image (1, 1, H, W), labels (1, 1, H, W))}, each a disc on noise."""
    generator = np.random.default_rng(seed)
    rows, columns = np.ogrid[: size[0], : size[1]]
    cases = {}
    for case in range(count):
        centre = generator.integers(10, 26, 2)
        mask = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 50
        image = generator.normal(100, 10, size) + 40 * mask
        cases[f"disc{case}"] = image[None, None].astype(np.float32), mask[None, None].astype(np.int8)
    return cases


def write(home: Path, cases, splits, patch_size=(32, 32), labels=("background", "disc")) -> dict[str, str]:
    """Preprocess `cases` into `home`; returns the variables with which nnU-Net finds them."""
    folder = home / "preprocessed" / NAME
    (folder / "nnUNetPlans_2d").mkdir(parents=True)
    (folder / "gt_segmentations").mkdir()
    description = {
        "channel_names": {"0": "grey"},
        "labels": {label: value for value, label in enumerate(labels)},
        "numTraining": len(cases),
        "file_ending": ".png",
    }
    for name, content in (
        ("nnUNetPlans", plans(patch_size)),
        ("dataset", description),
        ("splits_final", splits),
        ("dataset_fingerprint", {}),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content))
    manager = PlansManager(plans(patch_size))
    for name, (image, seg) in cases.items():
        Image.fromarray(seg[0, 0].astype(np.uint8)).save(folder / "gt_segmentations" / f"{name}.png")
        data, seg, properties = DefaultPreprocessor(verbose=False).run_case_npy(
            image, seg, {"spacing": [999, 1, 1]}, manager, manager.get_configuration("2d"), description
        )
        shape = {"chunks": data.shape, "blocks": data.shape, "chunks_seg": seg.shape, "blocks_seg": seg.shape}
        nnUNetDatasetBlosc2.save_case(
            data, seg.astype(np.int16), properties, str(folder / "nnUNetPlans_2d" / name), **shape
        )
    return {
        "nnUNet_raw": str(home / "raw"),
        "nnUNet_preprocessed": str(home / "preprocessed"),
        "nnUNet_results": str(home / "results"),
        "nnUNet_def_n_proc": "1",
        "nnUNet_n_proc_DA": "1",
        "OMP_NUM_THREADS": "1",
    }


def trainer(cls, environment, fold=0, device="cpu"):
    """A trainer as nnUNetv2_train makes it; the variables must be set in this process."""
    folder = Path(environment["nnUNet_preprocessed"]) / NAME
    plans, dataset = (json.loads((folder / f"{name}.json").read_text()) for name in ("nnUNetPlans", "dataset"))
    plans["configurations"]["2d"]["slicemamba"] = SMALL_SLICEMAMBA  # only SliceMamba looks at it
    return cls(plans | {"continue_training": False}, "2d", fold, dataset, torch.device(device))
