"""What the polyp data sets share: a folder of images and one of masks, channels and class."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.images import read_binary_mask, read_rgb
from nnunet_mamba.dataset_conversion.pairs import Identify, by_id, list_files, pair_up

POLYP = {"channel_names": ("R", "G", "B"), "labels": {"background": 0, "polyp": 1}, "paper": None}


def polyp_cases(images: Path, masks: Path, identify: Identify, group: Callable[[str], str]) -> tuple[list[Case], list[BadCase]]:
    """The pairs of two folders, by the id that a file's stem gives; the id decides the group."""
    pairs, bad = pair_up(*(by_id(list_files(folder), identify) for folder in (images, masks)))
    return [Case(id, group(id), image, mask) for id, (image, mask) in pairs.items()], bad


def only_pair(folder: Path, pairs: Mapping[Path, Path], name: str) -> tuple[Path, Path]:
    """The one pair of folders; a ValueError where there are several."""
    if len(pairs) > 1:
        raise ValueError(f"{folder}: holds {len(pairs)} trees of {name} ({', '.join(map(str, pairs))}); give one of them to -i")
    return next(iter(pairs.items()))


def read_case(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 and labels (H, W) uint8, 0 mucosa, 1 polyp."""
    return read_rgb(case.image), read_binary_mask(case.mask)
