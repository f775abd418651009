"""CVC-ClinicDB: polyps in 612 frames of 29 colonoscopic video sequences (Bernal et al., CMIG 2015).

    nnunet_mamba convert CVC-ClinicDB -i CVC-ClinicDB -d 508
    python -m nnunet_mamba.dataset_conversion.cvc_clinicdb -i CVC-ClinicDB.zip -d 508

Reads the official tree, from the folder that holds it (to four levels down), from itself, or from a zip; of copies that hold
the frames twice, as tif and as png, the tif:

    CVC-ClinicDB/Original/1.tif ... 612.tif         384x288
                 Ground Truth/1.tif ... 612.tif
    TIF/{Original, Ground Truth}, PNG/{Original, Ground Truth}      copies

Frames of a sequence are nearly the same picture, so the sequence is the group that folds keep together. Which frames are of which
sequence is published on the data set's page (https://polyp.grand-challenge.org/CVCClinicDB/, repeated in
https://github.com/dataset-ninja/cvc-612): 29 ranges without a gap. The sequences come from fewer studies; which share one is not
published. Cases are named by sequence and frame, `seq01_frame001`.

Channels are R, G, B, normalised image by image (z-score), as for Kvasir-SEG.
"""

import re
import sys
from bisect import bisect_right
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.images import read_binary_mask, read_rgb
from nnunet_mamba.dataset_conversion.pairs import by_id, find_root, list_files, pair_up
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset
from nnunet_mamba.dataset_conversion.recipe import Recipe

NUM_FRAMES = 612
FIRST_FRAMES = (  # of the sequences 1 to 29
    *(1, 26, 51, 68, 79, 104, 127, 152, 178, 200, 206, 228, 253, 278, 298),
    *(318, 343, 364, 384, 409, 429, 448, 467, 479, 504, 529, 547, 572, 592),
)
LAYOUT = "CVC-ClinicDB/{Original, Ground Truth}/1.tif"


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
        test: at least so many frames, of whole sequences, go to imagesTs and labelsTs and into no fold.
        protocol: none of the papers gives one. The other arguments are those of `ph2.convert`.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    return convert_dataset(CVC_CLINICDB, source, dataset_id, size, test, seed, protocol, processes, skip_bad)


def find_cases(folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The frames below `folder`, and images or masks that are alone or no frame of the 29 sequences.

    Raises:
        ValueError: `folder` does not hold the official tree, or more than one.
    """
    images, masks = find_root(folder, ("original",), ("groundtruth",), "CVC-ClinicDB", LAYOUT, prefer="tif")
    pairs, bad = pair_up(*(by_id(list_files(place), _frame) for place in (images, masks)))
    cases = []
    for frame, pair in pairs.items():
        sequence = find_sequence(int(frame)) if frame.isdigit() else None
        if sequence is None:
            bad.append(
                BadCase(frame, f"{pair[0]}: not one of the frames 1 to {NUM_FRAMES}, whose video sequences are known")
            )
        else:
            cases.append(Case(f"seq{sequence:02d}_frame{frame}", f"seq{sequence:02d}", *pair))
    return cases, bad


def find_sequence(frame: int) -> int | None:
    """The video sequence, 1 to 29, of a frame, 1 to 612; None outside."""
    return bisect_right(FIRST_FRAMES, frame) if 1 <= frame <= NUM_FRAMES else None


def read_case(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 and labels (H, W) uint8, 0 mucosa, 1 polyp."""
    return read_rgb(case.image), read_binary_mask(case.mask)


def _frame(stem: str) -> str:
    """Three digits, however the file is padded; any other name as it is."""
    return f"{int(stem):03d}" if re.fullmatch(r"[0-9]+", stem) else stem


CVC_CLINICDB = Recipe(
    name="CVC-ClinicDB",
    channel_names=("R", "G", "B"),
    labels={"background": 0, "polyp": 1},
    description="Polyp segmentation in frames of colonoscopic videos",
    reference="Bernal et al., WM-DOVA maps for accurate polyp highlighting in colonoscopy, Computerized Medical Imaging and "
    "Graphics 2015, doi:10.1016/j.compmedimag.2015.02.007, https://polyp.grand-challenge.org/CVCClinicDB/",
    licence="for research and education with citation, as stated by its authors",
    release="2015",
    paper=None,
    find_cases=find_cases,
    read_case=read_case,
)


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("CVC-ClinicDB"))
