"""CVC-ClinicDB: polyps in 612 frames of 29 colonoscopic video sequences (Bernal et al., CMIG 2015).

    nnunet_mamba convert CVC-ClinicDB -i CVC-ClinicDB -d 508

Reads the official tree, from itself, from a folder that holds it (up to four levels down), or from a zip. Of copies
that hold the frames as tif and as png, it reads the tif:

    CVC-ClinicDB/Original/1.tif ... 612.tif         384x288
                 Ground Truth/1.tif ... 612.tif
    TIF/{Original, Ground Truth}, PNG/{Original, Ground Truth}      copies

The frames of a sequence are nearly the same picture, so the sequence is the group that folds keep together. The data
set's page (https://polyp.grand-challenge.org/CVCClinicDB/, repeated in https://github.com/dataset-ninja/cvc-612) says
which frames belong to which sequence: 29 ranges without a gap. The sequences come from fewer studies; which of them
share a study is not published. Cases are named by sequence and frame, `seq01_frame001`.

Channels are R, G, B, normalised per image (z-score), like Kvasir-SEG.
"""

import re
from bisect import bisect_right
from pathlib import Path

from nnunet_mamba.dataset_conversion.dataset import BadCase, Case, Dataset
from nnunet_mamba.dataset_conversion.formats.folders import by_id, find_image_and_mask_folders, list_files, pair_up

NUM_FRAMES = 612
FIRST_FRAMES = (  # of the sequences 1 to 29
    *(1, 26, 51, 68, 79, 104, 127, 152, 178, 200, 206, 228, 253, 278, 298),
    *(318, 343, 364, 384, 409, 429, 448, 467, 479, 504, 529, 547, 572, 592),
)
LAYOUT = "CVC-ClinicDB/{Original, Ground Truth}/1.tif"


def find_cases(folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The frames below `folder`, images or masks without a partner, and frames of no known sequence.

    Raises:
        ValueError: `folder` holds no official tree, or more than one.
    """
    images, masks = find_image_and_mask_folders(folder, "original", "groundtruth", "CVC-ClinicDB", LAYOUT, prefer="tif")
    pairs, bad = pair_up(by_id(list_files(images), _frame), by_id(list_files(masks), _frame))
    cases = []
    for frame, pair in pairs.items():
        sequence = find_sequence(int(frame)) if frame.isdigit() else None
        if sequence is None:
            reason = f"{pair[0]}: not one of the frames 1 to {NUM_FRAMES}, whose video sequences are known"
            bad.append(BadCase(frame, reason))
        else:
            cases.append(Case(f"seq{sequence:02d}_frame{frame}", f"seq{sequence:02d}", *pair))
    return cases, bad


def find_sequence(frame: int) -> int | None:
    """The video sequence, 1 to 29, of a frame, 1 to 612; None for any other number."""
    return bisect_right(FIRST_FRAMES, frame) if 1 <= frame <= NUM_FRAMES else None


def _frame(stem: str) -> str:
    """Three digits, however the file name is padded. Any other name stays as it is."""
    return f"{int(stem):03d}" if re.fullmatch(r"[0-9]+", stem) else stem


CVC_CLINICDB = Dataset(
    name="CVC-ClinicDB",
    what="colonoscopy, 612 frames",
    segments="polyp",
    never_split="video sequence",
    labels={"background": 0, "polyp": 1},
    description="Polyp segmentation in frames of colonoscopic videos",
    reference="Bernal et al., WM-DOVA maps for accurate polyp highlighting in colonoscopy, Computerized Medical "
    "Imaging and Graphics 2015, doi:10.1016/j.compmedimag.2015.02.007, https://polyp.grand-challenge.org/CVCClinicDB/",
    licence="for research and education with citation, as stated by its authors",
    release="2015",
    find_cases=find_cases,
)
