"""The files of an nnU-Net raw data set: images, labels, dataset.json, splits_final.json."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_mamba import __version__
from nnunet_mamba.dataset_conversion.dataset import Case, Dataset, Pixels
from nnunet_mamba.dataset_conversion.formats.images import (
    centre_crop,
    resample_image,
    resample_labels,
    write_png,
    write_tiff,
)
from nnunet_mamba.dataset_conversion.pipeline.parallel import Workers
from nnunet_mamba.dataset_conversion.pipeline.verify import CaseFacts, measure


def image_path(folder: Path, part: str, case_id: str, file_ending: str, channel: int = 0) -> Path:
    """The image file of a case; `part` is Tr or Ts. One file holds all channels of an 8-bit RGB image."""
    return folder / f"images{part}" / f"{case_id}_{channel:04d}{file_ending}"


def label_path(folder: Path, part: str, case_id: str, file_ending: str) -> Path:
    """The label file of a case; `part` is Tr or Ts."""
    return folder / f"labels{part}" / f"{case_id}{file_ending}"


def write_cases(
    folder: Path,
    part: str,
    cases: Sequence[Case],
    dataset: Dataset,
    size: tuple[int, int] | None,
    crop: bool,
    workers: Workers,
) -> list[CaseFacts]:
    """Write images{part} and labels{part}, and measure what was written.

    With `size` = (H, W) images and labels are resampled to it. With `crop` their middle is cut out instead.
    """
    for kind in ("images", "labels"):
        if kind == "images" or any(case.mask for case in cases):
            (folder / f"{kind}{part}").mkdir()
    return workers.run(partial(_write_case, folder, part, dataset, size, crop), cases, f"writing {part}")


def write_dataset_json(folder: Path, dataset: Dataset, num_training: int) -> None:
    """dataset.json for nnU-Net, with where the data come from and what converted them."""
    content = {
        "channel_names": {str(i): name for i, name in enumerate(dataset.channel_names)},
        "labels": dict(dataset.labels),
        "numTraining": num_training,
        "file_ending": dataset.file_ending,
        "overwrite_image_reader_writer": dataset.reader_writer,
        "name": dataset.name,
        "description": dataset.description,
        "reference": dataset.reference,
        "licence": dataset.licence,
        "release": dataset.release,
        "converted_by": f"nnunet_mamba {__version__}",
    }
    if dataset.regions_class_order is not None:
        content["regions_class_order"] = dataset.regions_class_order
    write_json(folder / "dataset.json", content)


def write_json(path: Path, content: Any) -> None:
    """JSON with the same bytes on every system."""
    path.write_bytes((json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def _write_case(
    folder: Path, part: str, dataset: Dataset, size: tuple[int, int] | None, crop: bool, case: Case
) -> CaseFacts:
    image, labels = dataset.read_case(case)
    if size is not None:
        image, labels = _fit(image, size, crop, False), None if labels is None else _fit(labels, size, crop, True)
    for channel, pixels in enumerate(_files(image)):
        _write(image_path(folder, part, case.id, dataset.file_ending, channel), pixels)
    if labels is not None:
        _write(label_path(folder, part, case.id, dataset.file_ending), labels)
    return measure(case.id, image, labels, dataset.classes())


def _fit(pixels: Pixels, size: tuple[int, int], crop: bool, labels: bool) -> Pixels:
    if not isinstance(pixels, np.ndarray):
        from nnunet_mamba.dataset_conversion.formats.volumes import fit

        return fit(pixels, size, crop, labels)
    if crop:
        return centre_crop(pixels, size)
    return resample_labels(pixels, size) if labels else resample_image(pixels, size)


def _files(image: Pixels) -> list[Pixels]:
    """What goes into each image file: all, or a channel if it is not a PNG of 8-bit RGB."""
    if not isinstance(image, np.ndarray) or image.ndim == 2 or (image.shape[2] == 3 and image.dtype == np.uint8):
        return [image]
    return [image[..., channel] for channel in range(image.shape[2])]


def _write(path: Path, pixels: Pixels) -> None:
    if isinstance(pixels, np.ndarray):
        (write_tiff if path.suffix == ".tif" else write_png)(path, pixels)
    else:
        from nnunet_mamba.dataset_conversion.formats.volumes import write_nifti

        write_nifti(path, pixels)
