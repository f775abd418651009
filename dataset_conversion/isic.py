"""The layout that the ISIC challenges share: a folder of photographs and one of masks for training, validation and test."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.images import read_binary_mask, read_rgb
from nnunet_mamba.dataset_conversion.pairs import by_id, list_files, pair_up, walk
from nnunet_mamba.dataset_conversion.tree import name_found

PARTS = ("training", "validation", "test")
IMAGE, MASK = re.compile(r"ISIC_\d+", re.IGNORECASE), re.compile(r"(ISIC_\d+)_segmentation", re.IGNORECASE)
IMAGE_ENDINGS, MASK_ENDINGS = (".jpg", ".jpeg", ".png"), (".png",)


@dataclass(frozen=True)
class Challenge:
    """How a year names its folders; `{part}` stands for Training, Validation, Test (in any case)."""

    year: int
    image_folder: str
    mask_folder: str

    def expected(self) -> str:
        """The layout, for an error."""
        names = self.image_folder.format(part="Training"), self.mask_folder.format(part="Training")
        return f"{names[0]}/ISIC_0000000.jpg and {names[1]}/ISIC_0000000_segmentation.png"


def find_cases(challenge: Challenge, folder: Path) -> tuple[list[Case], list[BadCase]]:
    """Training cases, and the official validation and test as test cases: with labels where their masks are there too.

    Raises:
        ValueError: `folder` does not hold the challenge's training folders.
    """
    cases, bad = [], []
    for part in PARTS:
        images = _files(folder, challenge.image_folder, part, IMAGE_ENDINGS, IMAGE)
        masks = _files(folder, challenge.mask_folder, part, MASK_ENDINGS, MASK)
        if part == "training" and not images:
            raise ValueError(
                f"{folder}: not the layout of ISIC {challenge.year}; expected {challenge.expected()}; found {name_found(folder)}"
            )
        if part != "training" and not masks:
            cases += [Case(id, id, paths[0], None, part, test=True) for id, paths in images.items() if len(paths) == 1]
            images = {id: paths for id, paths in images.items() if len(paths) > 1}
        pairs, unpaired = pair_up(images, masks)
        cases += [Case(id, id, *pair, part, test=part != "training") for id, pair in pairs.items()]
        bad += unpaired
    return cases, bad


def read_case(case: Case) -> tuple[np.ndarray, np.ndarray | None]:
    """Image (H, W, 3) uint8 and labels (H, W) uint8, 0 skin, 1 lesion; None without a mask."""
    return read_rgb(case.image), read_binary_mask(case.mask) if case.mask else None


def _files(folder: Path, name: str, part: str, endings: tuple[str, ...], pattern: re.Pattern) -> dict[str, list[Path]]:
    """The files of each id below the part's folders: some programs unpack a zip into one more folder of its name."""
    wanted = re.compile(
        re.escape(name).replace(r"\{part\}", part + ("(_v2)?" if part == "test" else "")), re.IGNORECASE
    )
    paths = [path for place in walk(folder) if wanted.fullmatch(place.name) for path in list_files(place, endings)]
    return by_id(paths, lambda stem: _id(pattern, stem))


def _id(pattern: re.Pattern, stem: str) -> str | None:
    """None of superpixels."""
    name = pattern.fullmatch(stem)
    return (name[1] if pattern.groups else name[0]).upper() if name else None
