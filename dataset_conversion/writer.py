"""The files of an nnU-Net raw data set: images, labels, dataset.json, splits_final.json."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_mamba import __version__
from nnunet_mamba.dataset_conversion.cases import Case, CaseFacts
from nnunet_mamba.dataset_conversion.images import resample_image, resample_labels, write_png
from nnunet_mamba.dataset_conversion.parallel import Workers
from nnunet_mamba.dataset_conversion.recipe import Recipe
from nnunet_mamba.dataset_conversion.verify import ReadCase

FILE_ENDING = ".png"


def image_path(folder: Path, part: str, case_id: str) -> Path:
    """Where the image of a case lies; `part` is Tr or Ts. One file holds all channels of a natural image."""
    return folder / f"images{part}" / f"{case_id}_0000{FILE_ENDING}"


def label_path(folder: Path, part: str, case_id: str) -> Path:
    """Where the labels of a case lie; `part` is Tr or Ts."""
    return folder / f"labels{part}" / f"{case_id}{FILE_ENDING}"


def write_cases(
    folder: Path, part: str, cases: Sequence[Case], read_case: ReadCase, size: tuple[int, int] | None, workers: Workers
) -> list[CaseFacts]:
    """Write images{part} and labels{part}, resampled to `size` = (H, W) if given; returns what was written, measured."""
    for kind in ("images", "labels"):
        (folder / f"{kind}{part}").mkdir()
    return workers.run(partial(_write_case, folder, part, read_case, size), cases, f"writing {part}")


def write_dataset_json(folder: Path, recipe: Recipe, num_training: int) -> None:
    """dataset.json as nnU-Net reads it, with where the data come from and what converted them."""
    write_json(
        folder / "dataset.json",
        {
            "channel_names": {str(i): name for i, name in enumerate(recipe.channel_names)},
            "labels": dict(recipe.labels),
            "numTraining": num_training,
            "file_ending": FILE_ENDING,
            "overwrite_image_reader_writer": "NaturalImage2DIO",
            "name": recipe.name,
            "description": recipe.description,
            "reference": recipe.reference,
            "licence": recipe.licence,
            "release": recipe.release,
            "converted_by": f"nnunet_mamba {__version__}",
        },
    )


def write_json(path: Path, content: Any) -> None:
    """JSON with the same bytes on every system."""
    path.write_bytes((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def _write_case(folder: Path, part: str, read_case: ReadCase, size: tuple[int, int] | None, case: Case) -> CaseFacts:
    image, labels = read_case(case)
    if size is not None:
        image, labels = resample_image(image, size), resample_labels(labels, size)
    write_png(image_path(folder, part, case.id), image)
    write_png(label_path(folder, part, case.id), labels)
    return CaseFacts(case.id, labels.shape, float(np.mean(labels > 0)))
