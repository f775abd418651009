"""ISIC 2018, task 1: lesions in 2594 + 100 + 1000 dermoscopic images (Codella et al. 2019, arXiv:1902.03368).

    nnunet_mamba convert ISIC2018 -i ISIC2018 -d 506
    python -m nnunet_mamba.dataset_conversion.isic2018 -i ISIC2018 -d 506

Reads a folder that holds the unpacked official archives (to four levels down), or a zip of that:

    ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg
    ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png
    ISIC2018_Task1-2_Validation_Input/, ISIC2018_Task1-2_Test_Input/    if there, with their Task1 GroundTruth

The official validation and test cases go to imagesTs, and to labelsTs where their masks are there; the report tells which is
which. They are in no fold. An image of these without a mask, where others have one, is an error; so is one for training.

Channels are R, G, B, normalised image by image (z-score), as for PH2. Every image is a case and a group of its own.
"""

import sys
from functools import partial
from pathlib import Path

from nnunet_mamba.dataset_conversion.isic import Challenge, find_cases, read_case
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset
from nnunet_mamba.dataset_conversion.recipe import Recipe

CHALLENGE = Challenge(2018, "ISIC2018_Task1-2_{part}_Input", "ISIC2018_Task1_{part}_GroundTruth")


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
    """Convert ISIC 2018 into `nnUNet_raw/DatasetXXX_ISIC2018` and return that folder.

    Args:
        protocol: none of the papers gives one. The other arguments are those of `ph2.convert`; `test` adds training cases to the
            official ones.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    return convert_dataset(ISIC2018, source, dataset_id, size, test, seed, protocol, processes, skip_bad)


ISIC2018 = Recipe(
    name="ISIC2018",
    channel_names=("R", "G", "B"),
    labels={"background": 0, "lesion": 1},
    description="Lesion segmentation in dermoscopic images, ISIC 2018 task 1",
    reference="Codella et al., Skin lesion analysis toward melanoma detection 2018, arXiv:1902.03368; Tschandl et al., "
    "Scientific Data 2018, doi:10.1038/sdata.2018.161, https://challenge.isic-archive.com/data/#2018",
    licence="CC BY-NC 4.0",
    release="2018",
    paper=None,
    find_cases=partial(find_cases, CHALLENGE),
    read_case=read_case,
)


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("ISIC2018"))
