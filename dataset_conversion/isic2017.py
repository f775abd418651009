"""ISIC 2017, part 1: lesions in 2000 + 150 + 600 dermoscopic images (Codella et al., ISBI 2018).

    nnunet_mamba convert ISIC2017 -i ISIC2017 -d 505
    python -m nnunet_mamba.dataset_conversion.isic2017 -i ISIC2017 -d 505

Reads a folder that holds the unpacked official archives (to four levels down), or a zip of that:

    ISIC-2017_Training_Data/ISIC_0000000.jpg                    beside it superpixels (.png) and a csv, not used
    ISIC-2017_Training_Part1_GroundTruth/ISIC_0000000_segmentation.png
    ISIC-2017_Validation_Data/, ISIC-2017_Test_v2_Data/         if there, with their Part1_GroundTruth

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

CHALLENGE = Challenge(2017, "ISIC-2017_{part}_Data", "ISIC-2017_{part}_Part1_GroundTruth")


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
    """Convert ISIC 2017 into `nnUNet_raw/DatasetXXX_ISIC2017` and return that folder.

    Args:
        protocol: none of the papers gives one. The other arguments are those of `ph2.convert`; `test` adds training cases to the
            official ones.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    return convert_dataset(ISIC2017, source, dataset_id, size, test, seed, protocol, processes, skip_bad)


ISIC2017 = Recipe(
    name="ISIC2017",
    channel_names=("R", "G", "B"),
    labels={"background": 0, "lesion": 1},
    description="Lesion segmentation in dermoscopic images, ISIC 2017 part 1",
    reference="Codella et al., Skin lesion analysis toward melanoma detection: a challenge at ISBI 2017, ISBI 2018, "
    "doi:10.1109/ISBI.2018.8363547, https://challenge.isic-archive.com/data/#2017",
    licence="CC0",
    release="2017",
    paper=None,
    find_cases=partial(find_cases, CHALLENGE),
    read_case=read_case,
)


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("ISIC2017"))
