"""What the two ISIC challenges' lesion segmentation tasks share: parts in folders, an image and a mask for each id."""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.images import read_binary_mask, read_rgb
from nnunet_mamba.dataset_conversion.pairs import by_id, find_folders, list_files, pair_up, unknown_layout, unpacked
from nnunet_mamba.dataset_conversion.recipe import Recipe

# Part: its folder of images and its folder of masks, as patterns
Parts = Mapping[str, tuple[str, str]]


def make_recipe(year: int, parts: Parts, layout: str, reference: str, licence: str) -> Recipe:
    """The data set of one year; `parts` are named Training, Validation and Test."""
    return Recipe(
        name=f"ISIC{year}",
        channel_names=("R", "G", "B"),
        labels={"background": 0, "lesion": 1},
        description=f"Lesion segmentation in dermoscopic images, ISIC challenge {year}",
        reference=reference,
        licence=licence,
        release=str(year),
        paper=None,
        find_cases=partial(find_cases, f"ISIC{year}", parts, layout),
        read_case=read_case,
    )


def find_cases(name: str, parts: Parts, layout: str, folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The images of the training part, and of the validation and test parts that are there, as official test cases.

    Raises:
        ValueError: `folder` does not hold the training part, or a part twice.
    """
    cases, bad = [], []
    for part, patterns in parts.items():
        images, masks = (_only(folder, find_folders(folder, pattern), part) for pattern in patterns)
        if part == "Training" and (images is None or masks is None):
            raise unknown_layout(folder, name, layout, "ISIC*.zip")
        if images is None:
            continue
        found = by_id(list_files(images), _image_id)
        if masks is None:
            cases += [Case(id, id, paths[0], None, test=True) for id, paths in found.items()]
            continue
        pairs, unpaired = pair_up(found, by_id(list_files(masks), _mask_id))
        cases += [Case(id, id, image, mask, test=part != "Training") for id, (image, mask) in pairs.items()]
        bad += unpaired
    return cases, bad


def read_case(case: Case) -> tuple[np.ndarray, np.ndarray | None]:
    """Image (H, W, 3) uint8 and labels (H, W) uint8, 0 skin, 1 lesion."""
    return read_rgb(case.image), None if case.mask is None else read_binary_mask(case.mask)


def _image_id(stem: str) -> str | None:
    return stem if re.fullmatch(r"ISIC_\d+", stem) else None  # not ISIC_0000000_superpixels


def _mask_id(stem: str) -> str | None:
    return _image_id(stem.removesuffix("_segmentation"))


def _only(folder: Path, found: list[Path], part: str) -> Path | None:
    if len(found) > 1:
        raise ValueError(f"{folder}: holds the part {part} {len(found)} times ({', '.join(map(str, found))}); leave one")
    return unpacked(found[0]) if found else None
