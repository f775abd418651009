"""PH2: 200 dermoscopic images with lesion masks (Mendonça et al., EMBC 2013, doi:10.1109/EMBC.2013.6610779).

    nnunet_mamba convert PH2 -i PH2Dataset -d 501

Reads the official tree from `PH2Dataset`, from the folder `PH2 Dataset images` in it, from a folder that holds one of
them (up to four levels down), or from a zip of any of these:

    PH2 Dataset images/IMD003/IMD003_Dermoscopic_Image/IMD003.bmp
                              IMD003_lesion/IMD003_lesion.bmp       1-bit, in one case 24-bit
                              IMD003_roi/...                        colour regions, not used

Only `.bmp` files count: copies in circulation add lossy `.jpg`. Lesions that fill nearly the whole image are correct.

Channels are R, G, B, so nnU-Net normalises each channel of each image by its own mean and standard deviation (z-score).
Skin tone and the colour cast of the lamp vary between images and do not tell where the lesion ends; dividing by 255
(`rgb_to_0_1`) would keep them. One image shows one lesion, so each case is a group of its own.

The papers resample to 192x256 and hold out 30 lesions, but do not say which. With `--protocol paper` the seed chooses
30 for fold 0, or 15 % if there are fewer than 60.
"""

from pathlib import Path

from nnunet_mamba.dataset_conversion.dataset import BadCase, Case, Dataset, PaperProtocol
from nnunet_mamba.dataset_conversion.formats.folders import (
    by_id,
    find_roots,
    list_files,
    only_root,
    pair_up,
    subfolders,
)

IMAGE_FOLDER, MASK_FOLDER = "_dermoscopic_image", "_lesion"
LAYOUT = "PH2 Dataset images/IMD003/{IMD003_Dermoscopic_Image/IMD003.bmp, IMD003_lesion/IMD003_lesion.bmp}"


def find_cases(folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The cases below `folder`, and those with no image, no mask, or two of either.

    Raises:
        ValueError: `folder` holds no official tree, or more than one.
    """
    root = only_root(find_roots(folder, _holds_cases), folder, "PH2", LAYOUT)
    images: list[Path] = []
    masks: list[Path] = []
    empty = []
    for case in subfolders(root):
        found = _bitmaps(case, IMAGE_FOLDER, ".bmp"), _bitmaps(case, MASK_FOLDER, "_lesion.bmp")
        images += found[0]
        masks += found[1]
        if not any(found):
            empty.append(BadCase(case.name, f"{case}: holds neither an image nor a lesion mask (.bmp)"))
    pairs, bad = pair_up(by_id(images), by_id(masks, lambda stem: stem[: -len("_lesion")]))
    return [Case(id, id, *pair) for id, pair in pairs.items()], empty + bad


def _holds_cases(folder: Path) -> bool:
    return any(
        inner.name.lower().endswith((IMAGE_FOLDER, MASK_FOLDER))
        for case in subfolders(folder)
        for inner in subfolders(case)
    )


def _bitmaps(case: Path, folder_ending: str, file_ending: str) -> list[Path]:
    return [
        path
        for folder in subfolders(case)
        if folder.name.lower().endswith(folder_ending)
        for path in list_files(folder, (file_ending,))
    ]


PH2 = Dataset(
    name="PH2",
    what="dermoscopy, 200 images",
    segments="lesion",
    never_split="lesion",
    labels={"background": 0, "lesion": 1},
    description="Lesion segmentation in dermoscopic images of melanocytic lesions",
    reference="Mendonca et al., PH2 - A dermoscopic image database for research and benchmarking, EMBC 2013, "
    "doi:10.1109/EMBC.2013.6610779, https://www.fc.up.pt/addi/ph2%20database.html",
    licence="for research and education, as stated by the ADDI project",
    release="2013",
    find_cases=find_cases,
    paper=PaperProtocol(size=(192, 256), held_out=30, published=200),
)
