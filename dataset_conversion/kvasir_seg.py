"""Kvasir-SEG: polyps in 1000 colonoscopic images (Jha et al., MMM 2020, doi:10.1007/978-3-030-37734-2_37).

    nnunet_mamba convert Kvasir-SEG -i Kvasir-SEG -d 507

Reads the official tree, from itself, from a folder that holds it (up to four levels down), or from a zip:

    Kvasir-SEG/images/<id>.jpg
               masks/<id>.jpg           3-channel lossy JPEG: above 127 in the brightest channel is polyp;
                                        .png in copies
               kvasir_bboxes.json       not used

Channels are R, G, B, normalised per image (z-score): light and colour depend on how close the lamp of the endoscope is.
Each image is a group of its own; which images show the same polyp is not published.
"""

from pathlib import Path

from nnunet_mamba.dataset_conversion.dataset import BadCase, Case, Dataset
from nnunet_mamba.dataset_conversion.formats.folders import by_id, find_image_and_mask_folders, list_files, pair_up

LAYOUT = "Kvasir-SEG/{images, masks}/<id>.jpg"


def find_cases(folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The cases below `folder`, and images or masks without a partner.

    Raises:
        ValueError: `folder` holds no official tree, or more than one.
    """
    images, masks = find_image_and_mask_folders(folder, "images", "masks", "Kvasir-SEG", LAYOUT)
    pairs, bad = pair_up(by_id(list_files(images)), by_id(list_files(masks)))
    return [Case(id, id, *pair) for id, pair in pairs.items()], bad


KVASIR_SEG = Dataset(
    name="Kvasir-SEG",
    what="colonoscopy, 1000 images",
    segments="polyp",
    never_split="image",
    labels={"background": 0, "polyp": 1},
    description="Polyp segmentation in colonoscopic images",
    reference="Jha et al., Kvasir-SEG: a segmented polyp dataset, MMM 2020, doi:10.1007/978-3-030-37734-2_37, "
    "https://datasets.simula.no/kvasir-seg/",
    licence="for research and education, as stated by Simula",
    release="2020",
    find_cases=find_cases,
)
