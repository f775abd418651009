"""CVC-ClinicDB: 612 frames of 29 colonoscopy videos with polyp masks (Bernal et al. 2015, doi:10.1016/j.compmedimag.2015.02.007).

    nnunet_mamba convert CVC-ClinicDB -i CVC-ClinicDB -d 508
    python -m nnunet_mamba.dataset_conversion.clinicdb -i CVC-ClinicDB.zip -d 508

Reads the official tree, to three levels below a folder or in a zip, of .tif files or of the .png that copies carry (.tif where
both are there):

    CVC-ClinicDB/Original/1.tif ... 612.tif
                 Ground Truth/1.tif ... 612.tif

Neighbouring frames of a video hardly differ, so folds keep a video together: frames are numbered through, and the data set's page
(https://polyp.grand-challenge.org/CVCClinicDB/) lists the 29 sequences, whose last frames are below.

Channels are R, G, B, normalised image by image (z-score): endoscopes differ in lamp and white balance.
"""

import bisect
import sys
from pathlib import Path

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.pairs import find_folders, unknown_layout
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset
from nnunet_mamba.dataset_conversion.polyps import POLYP, only_pair, polyp_cases, read_case
from nnunet_mamba.dataset_conversion.recipe import Recipe

LAST_FRAMES = (
    25, 50, 67, 78, 103, 126, 151, 177, 199, 205, 227, 252, 277, 297, 317, 342, 363, 383, 408, 428, 447, 466, 478, 503, 528, 546,
    571, 591, 612,
)  # fmt: skip


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
    """Convert CVC-ClinicDB into `nnUNet_raw/DatasetXXX_CVC-ClinicDB` and return that folder.

    Args:
        The arguments are those of `ph2.convert`; there is no protocol of a paper.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    return convert_dataset(CLINICDB, source, dataset_id, size, test, seed, protocol, processes, skip_bad)


def find_cases(folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The frames below `folder`, those without a partner, and those with a number that no sequence has.

    Raises:
        ValueError: `folder` does not hold the official tree, or more than one.
    """
    pairs = {}
    for images in find_folders(folder, "Original"):
        pairs |= {images: masks for masks in find_folders(images.parent, r"Ground[ _]?Truth") if masks.parent == images.parent}
    pairs = {images: masks for images, masks in pairs.items() if _holds_tif(images)} or pairs
    if not pairs:
        layout = "CVC-ClinicDB/{Original, Ground Truth}/1.tif ... 612.tif"
        raise unknown_layout(folder, "CVC-ClinicDB", layout, "*ClinicDB*.zip")
    images, masks = only_pair(folder, pairs, "CVC-ClinicDB")
    cases, bad = polyp_cases(images, masks, _id, _video)
    bad += [BadCase(case.id, f"{case.image}: the videos' frames are 1 to {LAST_FRAMES[-1]}") for case in cases if not case.group]
    return [case for case in cases if case.group], bad


def _holds_tif(folder: Path) -> bool:
    return any(path.suffix.lower() in (".tif", ".tiff") for path in folder.iterdir())


def _id(stem: str) -> str | None:
    return f"ClinicDB_{int(stem):03}" if stem.isdecimal() else None


def _video(id: str) -> str:
    """Empty for a frame that no video has."""
    frame = int(id.removeprefix("ClinicDB_"))
    video = bisect.bisect_left(LAST_FRAMES, frame)
    return f"video{video + 1:02}" if frame >= 1 and video < len(LAST_FRAMES) else ""


CLINICDB = Recipe(
    name="CVC-ClinicDB",
    description="Polyp segmentation in frames of colonoscopy videos",
    reference="Bernal et al., WM-DOVA maps for accurate polyp highlighting in colonoscopy, Computerized Medical Imaging and "
    "Graphics 43 (2015), doi:10.1016/j.compmedimag.2015.02.007, https://polyp.grand-challenge.org/CVCClinicDB/",
    licence="for research and education, as stated by its authors",
    release="2015",
    find_cases=find_cases,
    read_case=read_case,
    **POLYP,
)


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("CVC-ClinicDB"))
