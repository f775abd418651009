"""ISIC 2018: task 1, 2,594 + 100 + 1,000 dermoscopic images with lesion masks (Codella et al. 2019, arXiv:1902.03368).

    nnunet_mamba convert ISIC2018 -i ISIC2018 -d 505
    python -m nnunet_mamba.dataset_conversion.isic2018 -i ISIC2018 -d 505

Reads a folder that holds the challenge's parts, each unpacked into a folder of its archive's name, to three levels down; or a
zip of that folder:

    ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg
    ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png
    ISIC2018_Task1-2_Validation_Input, ISIC2018_Task1_Validation_GroundTruth
    ISIC2018_Task1-2_Test_Input, ISIC2018_Task1_Test_GroundTruth

The training part must be there. Validation and test, if they are, become imagesTs, and labelsTs where their masks are there as
well.

Channels are R, G, B, normalised image by image (z-score), for the reason given in ph2.py. An image is the case and the group that
folds keep together: the challenge does not tell which images show one patient.
"""

import sys
from pathlib import Path

from nnunet_mamba.dataset_conversion.isic import make_recipe
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset

PARTS = {
    part: (rf"ISIC2018_Task1-2_{part}_Input", rf"ISIC2018_Task1_{part}_GroundTruth")
    for part in ("Training", "Validation", "Test")
}
RECIPE = make_recipe(
    2018,
    PARTS,
    "ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg with "
    "ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png",
    "Codella et al., Skin lesion analysis toward melanoma detection 2018, "
    "arXiv:1902.03368, https://challenge.isic-archive.com/data/#2018",
    "CC BY-NC 4.0",
)


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
        The arguments are those of `ph2.convert`; there is no protocol of a paper.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    return convert_dataset(RECIPE, source, dataset_id, size, test, seed, protocol, processes, skip_bad)


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("ISIC2018"))
