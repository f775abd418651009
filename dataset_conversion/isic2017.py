"""ISIC 2017: 2,000 + 150 + 600 dermoscopic images with lesion masks (Codella et al. 2018, arXiv:1710.05006).

    nnunet_mamba convert ISIC2017 -i ISIC2017 -d 504
    python -m nnunet_mamba.dataset_conversion.isic2017 -i ISIC2017 -d 504

Reads a folder that holds the challenge's parts, each unpacked into a folder of its archive's name, to three levels down; or a
zip of that folder:

    ISIC-2017_Training_Data/ISIC_0000000.jpg          also ISIC_0000000_superpixels.png and a csv, not used
    ISIC-2017_Training_Part1_GroundTruth/ISIC_0000000_segmentation.png
    ISIC-2017_Validation_Data, ISIC-2017_Validation_Part1_GroundTruth
    ISIC-2017_Test_v2_Data, ISIC-2017_Test_v2_Part1_GroundTruth

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
    part: (rf"ISIC-2017_{name}_Data", rf"ISIC-2017_{name}_Part1_GroundTruth")
    for part, name in (("Training", "Training"), ("Validation", "Validation"), ("Test", r"Test(?:_v2)?"))
}
RECIPE = make_recipe(
    2017,
    PARTS,
    "ISIC-2017_Training_Data/ISIC_0000000.jpg with "
    "ISIC-2017_Training_Part1_GroundTruth/ISIC_0000000_segmentation.png",
    "Codella et al., Skin lesion analysis toward melanoma detection: a challenge at ISBI 2017, "
    "arXiv:1710.05006, https://challenge.isic-archive.com/data/#2017",
    "CC0 1.0",
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
    """Convert ISIC 2017 into `nnUNet_raw/DatasetXXX_ISIC2017` and return that folder.

    Args:
        The arguments are those of `ph2.convert`; there is no protocol of a paper.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    return convert_dataset(RECIPE, source, dataset_id, size, test, seed, protocol, processes, skip_bad)


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("ISIC2017"))
