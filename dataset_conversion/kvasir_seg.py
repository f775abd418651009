"""Kvasir-SEG: 1,000 gastrointestinal polyp images with masks (Jha et al., MMM 2020, doi:10.1007/978-3-030-37734-2_37).

    nnunet_mamba convert Kvasir-SEG -i Kvasir-SEG -d 506
    python -m nnunet_mamba.dataset_conversion.kvasir_seg -i kvasir-seg.zip -d 506

Reads the official tree, to three levels below a folder or in a zip:

    Kvasir-SEG/images/<id>.jpg
               masks/<id>.jpg       three channels of lossy JPEG: foreground is what exceeds 127
               kavsir_bboxes.json   not used

Channels are R, G, B, normalised image by image (z-score): endoscopes differ in lamp and white balance. An image is the case and
the group that folds keep together: the data set does not tell which images show one patient.
"""

import sys
from pathlib import Path

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.pairs import find_folders, unknown_layout
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset
from nnunet_mamba.dataset_conversion.polyps import POLYP, only_pair, polyp_cases, read_case
from nnunet_mamba.dataset_conversion.recipe import Recipe


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
        The arguments are those of `ph2.convert`; there is no protocol of a paper.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    return convert_dataset(KVASIR_SEG, source, dataset_id, size, test, seed, protocol, processes, skip_bad)


def find_cases(folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The pairs below `folder`, and files without a partner.

    Raises:
        ValueError: `folder` does not hold the official tree, or more than one.
    """
    pairs = {images: images.parent / "masks" for images in find_folders(folder, "images")}
    pairs = {images: masks for images, masks in pairs.items() if masks.is_dir()}
    if not pairs:
        raise unknown_layout(folder, "Kvasir-SEG", "Kvasir-SEG/{images, masks}/<id>.jpg", "*vasir*.zip")
    images, masks = only_pair(folder, pairs, "Kvasir-SEG")
    return polyp_cases(images, masks, identify=str, group=str)


KVASIR_SEG = Recipe(
    name="Kvasir-SEG",
    description="Polyp segmentation in images of the gastrointestinal tract",
    reference="Jha et al., Kvasir-SEG: a segmented polyp dataset, MMM 2020, doi:10.1007/978-3-030-37734-2_37, "
    "https://datasets.simula.no/kvasir-seg",
    licence="for research and education, as stated at datasets.simula.no",
    release="2020",
    find_cases=find_cases,
    read_case=read_case,
    **POLYP,
)


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("Kvasir-SEG"))
