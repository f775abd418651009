"""Kvasir-SEG: polyps in 1000 colonoscopic images (Jha et al., MMM 2020, doi:10.1007/978-3-030-37734-2_37).

    nnunet_mamba convert Kvasir-SEG -i Kvasir-SEG -d 507
    python -m nnunet_mamba.dataset_conversion.kvasir_seg -i kvasir-seg.zip -d 507

Reads the official tree, from the folder that holds it (to four levels down), from itself, or from a zip:

    Kvasir-SEG/images/<id>.jpg
               masks/<id>.jpg           3-channel lossy JPEG: the brightest channel, more than 127 is polyp; .png in copies
               kvasir_bboxes.json       not used

Channels are R, G, B, normalised image by image (z-score): light and colour depend on how near the lamp of the endoscope is.
Every image is a case and a group of its own; which show the same polyp is not published.
"""

import sys
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.images import read_binary_mask, read_rgb
from nnunet_mamba.dataset_conversion.pairs import by_id, find_root, list_files, pair_up
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset
from nnunet_mamba.dataset_conversion.recipe import Recipe

LAYOUT = "Kvasir-SEG/{images, masks}/<id>.jpg"


def convert(
    source: str | Path,
    dataset_id: int,
    size: tuple[int, int] | None = None,
    test: int = 0,
    seed: int = 0,
    protocol: str | None = None,
    processes: int = 1,
    skip_bad: bool = False,
) -> Path:
    """Convert Kvasir-SEG into `nnUNet_raw/DatasetXXX_Kvasir-SEG` and return that folder.

    Args:
        protocol: none of the papers gives one. The other arguments are those of `ph2.convert`.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    return convert_dataset(KVASIR_SEG, source, dataset_id, size, test, seed, protocol, processes, skip_bad)


def find_cases(folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The cases below `folder`, and images or masks that are alone.

    Raises:
        ValueError: `folder` does not hold the official tree, or more than one.
    """
    images, masks = find_root(folder, ("images",), ("masks",), "Kvasir-SEG", LAYOUT)
    pairs, bad = pair_up(*(by_id(list_files(place), str) for place in (images, masks)))
    return [Case(id, id, *pair) for id, pair in pairs.items()], bad


def read_case(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 and labels (H, W) uint8, 0 mucosa, 1 polyp."""
    return read_rgb(case.image), read_binary_mask(case.mask)


KVASIR_SEG = Recipe(
    name="Kvasir-SEG",
    channel_names=("R", "G", "B"),
    labels={"background": 0, "polyp": 1},
    description="Polyp segmentation in colonoscopic images",
    reference="Jha et al., Kvasir-SEG: a segmented polyp dataset, MMM 2020, doi:10.1007/978-3-030-37734-2_37, "
    "https://datasets.simula.no/kvasir-seg/",
    licence="for research and education, as stated by Simula",
    release="2020",
    paper=None,
    find_cases=find_cases,
    read_case=read_case,
)


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("Kvasir-SEG"))
