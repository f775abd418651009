"""What the polyp data sets share: a folder of images and one of masks, channels and class."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.images import read_binary_mask, read_rgb
from nnunet_mamba.dataset_conversion.pairs import files_matching

POLYP = {"channel_names": ("R", "G", "B"), "labels": {"background": 0, "polyp": 1}, "paper": None}


def pair_up(
    images: Path, masks: Path, pattern: str, name: Callable[[str], str], group: Callable[[str], str]
) -> tuple[list[Case], list[BadCase]]:
    """Files of the two folders whose names fit the pattern and agree in its first group, from which id and group are made."""
    found, doubles = files_matching(images, pattern)
    truths, more = files_matching(masks, pattern)
    bad = [BadCase(reason.split(":")[0], reason) for reason in doubles + more]
    cases = []
    for stem in sorted(found.keys() | truths.keys()):
        if stem not in truths:
            bad.append(BadCase(name(stem), f"{found[stem]}: an image without a mask; expected one of its name in {masks}"))
        elif stem not in found:
            bad.append(BadCase(name(stem), f"{truths[stem]}: a mask without an image; expected one of its name in {images}"))
        else:
            cases.append(Case(name(stem), group(stem), found[stem], truths[stem]))
    return cases, bad


def only_pair(folder: Path, pairs: Mapping[Path, Path], name: str) -> tuple[Path, Path]:
    """The one pair of folders; a ValueError where there are several."""
    if len(pairs) > 1:
        raise ValueError(f"{folder}: holds {len(pairs)} trees of {name} ({', '.join(map(str, pairs))}); give one of them to -i")
    return next(iter(pairs.items()))


def read_case(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 and labels (H, W) uint8, 0 mucosa, 1 polyp."""
    return read_rgb(case.image), read_binary_mask(case.mask)
