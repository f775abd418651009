"""PH2: 200 dermoscopic images with lesion masks (Mendonça et al., EMBC 2013, doi:10.1109/EMBC.2013.6610779).

    nnunet_mamba convert PH2 -i PH2Dataset -d 501
    python -m nnunet_mamba.dataset_conversion.ph2 -i PH2Dataset -d 501

Reads the official tree, from `PH2Dataset`, from the `PH2 Dataset images` inside it, from a folder that holds one of them, or from
a zip of any of these:

    PH2 Dataset images/IMD003/IMD003_Dermoscopic_Image/IMD003.bmp
                              IMD003_lesion/IMD003_lesion.bmp       1-bit, or 24-bit in one case
                              IMD003_roi/...                        colour regions, not used

Only `.bmp` counts: copies in circulation add lossy `.jpg`. Lesions that fill nearly the whole image are right.

Channels are R, G, B, so nnU-Net normalises each channel of each image by its own mean and deviation (z-score): skin tone and the
colour cast of a lamp vary from image to image and say nothing about where the lesion ends, which a division by 255
(`rgb_to_0_1`) would keep. One image shows one lesion, so the case is the group that folds keep together.
"""

import sys
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.images import read_binary_mask, read_rgb
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset
from nnunet_mamba.dataset_conversion.recipe import PaperProtocol, Recipe
from nnunet_mamba.dataset_conversion.tree import name_found, subfolders

IMAGE_FOLDER, MASK_FOLDER = "_dermoscopic_image", "_lesion"
SEARCH_DEPTH = 3
LAYOUT = "PH2 Dataset images/IMD003/{IMD003_Dermoscopic_Image/IMD003.bmp, IMD003_lesion/IMD003_lesion.bmp}"


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
    """Convert PH2 into `nnUNet_raw/DatasetXXX_PH2` and return that folder.

    Args:
        source: folder or zip, see above.
        dataset_id: a free nnU-Net id, 1 to 999.
        size: (H, W) in pixels to resample to; None keeps each image's own.
        test: so many lesions go to imagesTs and labelsTs and into no fold.
        seed: decides test lesions and folds.
        protocol: "paper" resamples to 192x256 and makes 30 held-out lesions the validation of fold 0 (the papers do not say which,
            so the seed decides), or of a source with fewer than 60, 15 %; the other lesions share the other four folds.
        processes: more than one are spawned, so a script that asks for them needs `if __name__ == "__main__":`.
        skip_bad: leave out broken cases and list them, instead of an error.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    return convert_dataset(PH2, source, dataset_id, size, test, seed, protocol, processes, skip_bad)


def find_cases(folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The cases below `folder`, and those that lack an image or a mask, or have two.

    Raises:
        ValueError: `folder` does not hold the official tree, or more than one.
    """
    images: dict[str, list[Path]] = {}
    masks: dict[str, list[Path]] = {}
    bad = []
    for case_folder in subfolders(_find_root(folder)):
        found_images = _bitmaps(case_folder, IMAGE_FOLDER, "")
        found_masks = _bitmaps(case_folder, MASK_FOLDER, "_lesion")
        for path in found_images:
            images.setdefault(path.stem, []).append(path)
        for path in found_masks:
            masks.setdefault(path.stem[: -len("_lesion")], []).append(path)
        if not found_images and not found_masks:
            bad.append(BadCase(case_folder.name, f"{case_folder}: holds neither an image nor a lesion mask (.bmp)"))

    cases = []
    for id in sorted(images.keys() | masks.keys()):
        pair = images.get(id, []), masks.get(id, [])
        if [len(paths) for paths in pair] == [1, 1]:
            cases.append(Case(id, id, pair[0][0], pair[1][0]))
        else:
            bad.append(BadCase(id, _why_not_a_pair(id, *pair)))
    return cases, bad


def read_case(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 and labels (H, W) uint8, 0 skin, 1 lesion."""
    return read_rgb(case.image), read_binary_mask(case.mask)


PH2 = Recipe(
    name="PH2",
    channel_names=("R", "G", "B"),
    labels={"background": 0, "lesion": 1},
    description="Lesion segmentation in dermoscopic images of melanocytic lesions",
    reference="Mendonca et al., PH2 - A dermoscopic image database for research and benchmarking, EMBC 2013, "
    "doi:10.1109/EMBC.2013.6610779, https://www.fc.up.pt/addi/ph2%20database.html",
    licence="for research and education, as stated by the ADDI project",
    release="2013",
    paper=PaperProtocol(size=(192, 256), held_out=30, published=200),
    find_cases=find_cases,
    read_case=read_case,
)


def _why_not_a_pair(id: str, images: list[Path], masks: list[Path]) -> str:
    for kind, paths in (("images", images), ("masks", masks)):
        if len(paths) > 1:
            return f"{id} has {len(paths)} {kind}: {', '.join(map(str, paths))}"
    if images:
        return f"{images[0]}: an image without a mask; expected {id}_lesion/{id}_lesion.bmp beside its folder"
    return f"{masks[0]}: a mask without an image; expected {id}_Dermoscopic_Image/{id}.bmp beside its folder"


def _find_root(folder: Path) -> Path:
    """The folder whose sub-folders are cases."""
    level = [folder]
    for _ in range(SEARCH_DEPTH + 1):
        roots = [path for path in level if _holds_cases(path)]
        if len(roots) == 1:
            return roots[0]
        if roots:
            raise ValueError(
                f"{folder}: holds {len(roots)} PH2 trees ({', '.join(map(str, roots))}); give one of them to -i"
            )
        level = [inner for path in level for inner in subfolders(path)]
    raise ValueError(f"{folder}: not the layout of PH2; expected {LAYOUT}, found {name_found(folder)}")


def _holds_cases(folder: Path) -> bool:
    return any(
        inner.name.lower().endswith((IMAGE_FOLDER, MASK_FOLDER))
        for case in subfolders(folder)
        for inner in subfolders(case)
    )


def _bitmaps(case_folder: Path, folder_ending: str, stem_ending: str) -> list[Path]:
    """The .bmp files in the sub-folders of that ending, in sorted order."""
    return [
        path
        for folder in subfolders(case_folder)
        if folder.name.lower().endswith(folder_ending)
        for path in sorted(folder.iterdir())
        if path.name.lower().endswith(f"{stem_ending}.bmp") and not path.name.startswith(".")
    ]


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("PH2"))
