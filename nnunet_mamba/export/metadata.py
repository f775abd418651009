"""What a program needs besides the network to use it on images: it travels inside the file, as JSON."""

import json
from collections.abc import Sequence
from typing import Any

from nnunet_mamba import __version__
from nnunet_mamba.prediction import Predictor

KEY = "nnunet_mamba"  # in the metadata of an ONNX file, and the name of the extra file of a torch program
VERSION = 1  # of this content


def metadata(predictor: Predictor, patch: Sequence[int]) -> dict[str, Any]:
    """Of a model whose file takes images of the size `patch`. The table in docs/export.md says what each entry is."""
    configuration, plans, dataset = predictor.configuration, predictor.plans, predictor.dataset
    channels = dataset.get("channel_names") or dataset["modality"]
    return {
        "version": VERSION,
        "written_by": f"nnunet_mamba {__version__}",
        "trainer": predictor.trainer,
        "dataset": plans["dataset_name"],
        "fold": predictor.folds[0],
        "checkpoint": predictor.checkpoint,
        "channel_names": [channels[number] for number in sorted(channels, key=int)],
        "labels": dataset["labels"],
        "regions_class_order": dataset.get("regions_class_order"),
        "patch_size": list(patch),
        "spacing": list(configuration.spacing),
        "transpose_forward": plans["transpose_forward"],
        "normalization": configuration.normalization_schemes,
        "normalization_in_foreground_only": configuration.use_mask_for_norm,
        "intensities": plans["foreground_intensity_properties_per_channel"],
        "mirroring_axes": list(predictor.mirroring_axes),
        "image_reader": predictor.reader.kind,
    }


def as_text(content: dict[str, Any]) -> str:
    return json.dumps(content)
