"""Chest X-ray: lungs in the Montgomery (138) and Shenzhen (662) radiographs (Jaeger et al., QIMS 2014).

    nnunet_mamba convert ChestXray -i "Lung Segmentation" -d 504
    python -m nnunet_mamba.dataset_conversion.chest_xray -i MontgomerySet -d 504 --sides

Reads any combination of these, from a folder that holds them (to four levels down), or from a zip:

    MontgomerySet/CXR_png/MCUCXR_0001_0.png              official
                  ManualMask/leftMask/MCUCXR_0001_0.png  and rightMask: the label is their union
    ChinaSet_AllFiles/CXR_png/CHNCXR_0001_0.png          official, the masks come separately (Stirenko et al. 2018):
    mask/CHNCXR_0001_0_mask.png                          anywhere below the folder
    Lung Segmentation/CXR_png/, masks/                   both merged, as they circulate; masks with or without `_mask`

96 of Shenzhen's images have no mask: they are listed, and are no error; nor is a folder `test` of such images. Masks may be
anti-aliased: more than 127 is lung.

`--sides` gives the lungs a class each. Only Montgomery's official masks tell them apart, so only those cases are converted; left
and right are those of its folders' names.

The channel is grey: 8 bits, or 16 where the file has them (radiographs of 12 bits are kept in full), 3-channel files as their
luminance. nnU-Net normalises each image by itself (z-score), as exposure and bit depth differ between the two hospitals.
Every image is a patient and a group of its own; folds are stratified by hospital and by tuberculosis (`_1` ends the name).

The papers resample to 256x256. Which images they hold out is not known here, so `--protocol paper` leaves the folds as they are.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.images import read_binary_mask, read_grey
from nnunet_mamba.dataset_conversion.pairs import by_id, list_files, pair_up, walk
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset
from nnunet_mamba.dataset_conversion.recipe import PaperProtocol, Recipe
from nnunet_mamba.dataset_conversion.tree import name_found

NAME = re.compile(r"((MCUCXR|CHNCXR)_\d+_[01])(_mask)?", re.IGNORECASE)
SITES = {"MCUCXR": "Montgomery", "CHNCXR": "Shenzhen"}
IMAGES, WHOLE, LEFT, RIGHT = ("cxr_png",), ("mask", "masks"), ("leftmask",), ("rightmask",)
LAYOUTS = (
    "MontgomerySet/{CXR_png, ManualMask/leftMask, ManualMask/rightMask}/MCUCXR_0001_0.png, "
    "ChinaSet_AllFiles/CXR_png/CHNCXR_0001_0.png with mask/CHNCXR_0001_0_mask.png, or Lung Segmentation/{CXR_png, masks}"
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
    sides: bool = False,
) -> Path:
    """Convert the radiographs into `nnUNet_raw/DatasetXXX_ChestXray` and return that folder.

    Args:
        sides: a class for each lung, of Montgomery's cases alone. The other arguments are those of `ph2.convert`; "paper"
            resamples to 256x256.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    own = {"sides": sides}
    return convert_dataset(make_recipe(sides), source, dataset_id, size, test, seed, protocol, processes, skip_bad, own)


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """This data set's own options."""
    parser.add_argument(
        "--sides", action="store_true", help="keep left and right lung apart; Montgomery's official masks only"
    )


def options(args: argparse.Namespace) -> dict[str, bool]:
    """For `convert`."""
    return {"sides": args.sides}


def find_cases(sides: bool, folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The cases below `folder`, and the images without a mask.

    Raises:
        ValueError: `folder` holds none of the layouts.
    """
    images, whole, left, right = (_files(folder, names) for names in (IMAGES, WHOLE, LEFT, RIGHT))
    if not images:
        raise ValueError(f"{folder}: not a layout of the chest X-rays; expected {LAYOUTS}; found {name_found(folder)}")
    halves, bad = pair_up(left, right)
    bad = [BadCase(case.id, _one_side(left, right, case)) for case in bad]
    broken = {case.id for case in bad}
    masks = {id: paths for id, paths in whole.items() if id not in broken}
    for id, pair in halves.items():
        masks.setdefault(id, []).append(pair[0])
    images_left = {id: paths for id, paths in images.items() if id not in broken}
    labelled_sites = {_site(id) for id in (*whole, *left, *right)}
    pairs, unpaired = pair_up(images_left, masks, unlabelled_is_expected=lambda id: _site(id) in labelled_sites)
    bad += [_with_hint(case, labelled_sites) for case in unpaired]
    cases = []
    for id, (image, mask) in pairs.items():
        parts = halves.get(id, ())
        if sides and not parts:
            bad.append(BadCase(id, f"{mask}: does not tell the lungs apart, not used with --sides", expected=True))
        else:
            cases.append(Case(id, id, image, mask, f"{_site(id)} {_diagnosis(id)}", extra=parts))
    if sides and not cases:
        raise ValueError(
            f"{folder}: no mask tells the lungs apart; --sides needs Montgomery's ManualMask/leftMask and rightMask"
        )
    return cases, bad


def read_case(sides: bool, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W) uint8 or uint16 and labels (H, W) uint8: 0 ground, 1 lung; with `sides` 1 left lung, 2 right lung."""
    image = read_grey(case.image)
    if not case.extra:
        return image, read_binary_mask(case.mask)
    left, right = (read_binary_mask(path) for path in case.extra)
    for path, mask in zip(case.extra, (left, right), strict=True):
        if mask.shape != image.shape:
            got, wanted = ("x".join(map(str, shape)) for shape in (mask.shape, image.shape))
            raise ValueError(f"{path}: the mask has {got} pixels (H x W), its image {case.image.name} {wanted}")
    if sides and (both := int(np.sum(left & right))):
        raise ValueError(
            f"{case.extra[0]}: left and right lung share {both} pixels; convert without --sides, or mend the masks"
        )
    return image, left + 2 * right if sides else left | right


def make_recipe(sides: bool) -> Recipe:
    """The recipe for one class, or one for each lung."""
    lungs = {"left_lung": 1, "right_lung": 2} if sides else {"lung": 1}
    return Recipe(
        name="ChestXray",
        channel_names=("xray",),
        labels={"background": 0, **lungs},
        description="Lung segmentation in chest radiographs of Montgomery County and Shenzhen",
        reference="Jaeger et al., Two public chest X-ray datasets for computer-aided screening of pulmonary diseases, QIMS 2014, "
        "doi:10.3978/j.issn.2223-4292.2014.11.20; Shenzhen masks: Stirenko et al. 2018, doi:10.1109/ELNANO.2018.8477564",
        licence="images: free for research with citation, as stated by the U.S. National Library of Medicine; "
        "Shenzhen masks: CC BY-NC-SA 4.0",
        release="2014, Shenzhen masks 2018",
        paper=PaperProtocol(size=(256, 256)),
        find_cases=partial(find_cases, sides),
        read_case=partial(read_case, sides),
    )


def _files(folder: Path, names: Sequence[str]) -> dict[str, list[Path]]:
    """The radiographs or masks of each id in the folders of these names."""
    paths = [path for place in walk(folder) if place.name.lower() in names for path in list_files(place, (".png",))]
    return by_id(paths, _id)


def _id(stem: str) -> str | None:
    name = NAME.fullmatch(stem)
    return name[1].upper() if name else None


def _site(id: str) -> str:
    return SITES[id.split("_")[0]]


def _diagnosis(id: str) -> str:
    return "tuberculosis" if id.endswith("_1") else "normal"


def _one_side(left: Mapping[str, list[Path]], right: Mapping[str, list[Path]], case: BadCase) -> str:
    if case.id in left and case.id in right:
        return case.reason
    path = [*left.get(case.id, []), *right.get(case.id, [])][0]
    other = "rightMask" if case.id in left else "leftMask"
    return f"{path}: the mask of the other lung is missing; expected {path.name} in {other}"


def _with_hint(case: BadCase, labelled_sites: set[str]) -> BadCase:
    """A hospital without a single mask is not as published: they are still to be fetched."""
    if case.expected or _site(case.id) in labelled_sites:
        return case
    return BadCase(case.id, f"{case.reason}, as all of {_site(case.id)}'s; put its masks below the folder as well")


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("ChestXray"))
