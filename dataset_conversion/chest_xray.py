"""Chest X-ray: lungs in the Montgomery (138) and Shenzhen (662) radiographs (Jaeger et al., QIMS 2014).

    nnunet_mamba convert ChestXray -i "Lung Segmentation" -d 504
    nnunet_mamba convert ChestXray -i MontgomerySet -d 504 --sides

Reads any combination of these, from a folder that holds them (up to four levels down), or from a zip:

    MontgomerySet/CXR_png/MCUCXR_0001_0.png              official
                  ManualMask/leftMask/MCUCXR_0001_0.png  and rightMask: the label is their union
    ChinaSet_AllFiles/CXR_png/CHNCXR_0001_0.png          official, the masks come separately (Stirenko et al. 2018):
    mask/CHNCXR_0001_0_mask.png                          anywhere below the folder
    Lung Segmentation/CXR_png/, masks/                   both merged, as they circulate; masks with or without `_mask`

96 of Shenzhen's images have no mask, and copies hold a folder `test` of such images: they are listed and are no error.
Masks may be anti-aliased: values above 127 are lung.

`--sides` gives each lung a class of its own. Only Montgomery's official masks tell the lungs apart, so only those cases
are converted. Left and right are as in its folder names.

The channel is grey: 8 bits, or 16 if the file has them (radiographs of 12 bits keep their full range). 3-channel files
become their luminance. nnU-Net normalises each image by itself (z-score), because exposure and bit depth differ between
the hospitals. Each image is one patient and a group of its own. Folds are stratified by hospital and by tuberculosis
(the name ends in `_1`).

The papers resample to 256x256. They do not say which images they hold out, so `--protocol paper` leaves the folds as
they are.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.dataset import BadCase, Case, Dataset, Option, PaperProtocol
from nnunet_mamba.dataset_conversion.formats.folders import ById, by_id, list_files, pair_up, walk, wrong_layout
from nnunet_mamba.dataset_conversion.formats.images import read_binary_mask, read_grey

NAME = re.compile(r"((MCUCXR|CHNCXR)_\d+_[01])(_mask)?", re.IGNORECASE)
SITES = {"MCUCXR": "Montgomery", "CHNCXR": "Shenzhen"}
IMAGES, WHOLE, LEFT, RIGHT = ("cxr_png",), ("mask", "masks"), ("leftmask",), ("rightmask",)
LAYOUTS = (
    "MontgomerySet/{CXR_png, ManualMask/leftMask, ManualMask/rightMask}/MCUCXR_0001_0.png, "
    "ChinaSet_AllFiles/CXR_png/CHNCXR_0001_0.png with mask/CHNCXR_0001_0_mask.png, "
    "or Lung Segmentation/{CXR_png, masks}"
)


def find_cases(folder: Path, sides: bool = False) -> tuple[list[Case], list[BadCase]]:
    """The cases below `folder`, and the images without a mask.

    Raises:
        ValueError: `folder` holds none of the layouts.
    """
    images, whole, left, right = (_files(folder, names) for names in (IMAGES, WHOLE, LEFT, RIGHT))
    if not images:
        raise wrong_layout(folder, "the chest X-rays", LAYOUTS)
    halves, unpaired = pair_up(left, right)
    bad = [BadCase(case.id, _one_side(left, right, case)) for case in unpaired]
    broken = {case.id for case in bad}
    masks = {id: paths for id, paths in whole.items() if id not in broken}
    for id, pair in halves.items():
        masks.setdefault(id, []).append(pair[0])
    images = {id: paths for id, paths in images.items() if id not in broken}
    labelled_sites = {_site(id) for id in (*whole, *left, *right)}
    pairs, unpaired = pair_up(images, masks, unlabelled_is_expected=lambda id: _site(id) in labelled_sites)
    bad += [_with_hint(case, labelled_sites) for case in unpaired]
    cases = []
    for id, (image, mask) in pairs.items():
        both = halves.get(id, ())
        if sides and not both:
            bad.append(BadCase(id, f"{mask}: does not tell the lungs apart, not used with --sides", expected=True))
        else:
            cases.append(Case(id, id, image, mask, f"{_site(id)} {_diagnosis(id)}", extra=both))
    if sides and not cases:
        raise ValueError(
            f"{folder}: no mask tells the lungs apart; --sides needs Montgomery's ManualMask/leftMask and rightMask"
        )
    return cases, bad


def read_case(case: Case, sides: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
    """Image (H, W) uint8 or uint16 and labels (H, W) uint8: 1 lung, or with `sides` 1 left lung and 2 right lung."""
    image = read_grey(case.image)
    if not case.extra:
        return image, None if case.mask is None else read_binary_mask(case.mask)
    left, right = (read_binary_mask(path) for path in case.extra)
    for path, mask in zip(case.extra, (left, right), strict=True):
        if mask.shape != image.shape:
            got, wanted = ("x".join(map(str, shape)) for shape in (mask.shape, image.shape))
            raise ValueError(f"{path}: the mask has {got} pixels (H x W), its image {case.image.name} {wanted}")
    if sides and (both := int(np.sum(left & right))):
        raise ValueError(
            f"{case.extra[0]}: left and right lung share {both} pixels; convert without --sides, or fix the masks"
        )
    return image, left + 2 * right if sides else left | right


def with_sides(dataset: Dataset, sides: bool) -> Dataset:
    """The data set with one class, or with one per lung."""
    if not sides:
        return dataset
    labels = {"background": 0, "left_lung": 1, "right_lung": 2}
    find, read = partial(find_cases, sides=True), partial(read_case, sides=True)
    return replace(dataset, labels=labels, find_cases=find, read_case=read)


def _files(folder: Path, names: Sequence[str]) -> ById:
    """The radiographs or masks of each id, in the folders of these names."""
    paths = [path for place in walk(folder) if place.name.lower() in names for path in list_files(place, (".png",))]
    return by_id(paths, lambda stem: match[1].upper() if (match := NAME.fullmatch(stem)) else None)


def _site(id: str) -> str:
    return SITES[id.split("_")[0]]


def _diagnosis(id: str) -> str:
    return "tuberculosis" if id.endswith("_1") else "normal"


def _one_side(left: ById, right: ById, case: BadCase) -> str:
    if case.id in left and case.id in right:
        return case.reason
    path = [*left.get(case.id, []), *right.get(case.id, [])][0]
    other = "rightMask" if case.id in left else "leftMask"
    return f"{path}: the mask of the other lung is missing; expected {path.name} in {other}"


def _with_hint(case: BadCase, labelled_sites: set[str]) -> BadCase:
    """A hospital without a single mask is not as published: its masks still have to be downloaded."""
    if case.expected or _site(case.id) in labelled_sites:
        return case
    return BadCase(case.id, f"{case.reason}, as all of {_site(case.id)}'s; put its masks below the folder as well")


CHEST_XRAY = Dataset(
    name="ChestXray",
    what="Montgomery and Shenzhen radiographs, official or merged",
    segments="lungs",
    never_split="image; balanced over hospital and tuberculosis",
    labels={"background": 0, "lung": 1},
    description="Lung segmentation in chest radiographs of Montgomery County and Shenzhen",
    reference="Jaeger et al., Two public chest X-ray datasets for computer-aided screening of pulmonary diseases, "
    "QIMS 2014, doi:10.3978/j.issn.2223-4292.2014.11.20; Shenzhen masks: "
    "Stirenko et al. 2018, doi:10.1109/ELNANO.2018.8477564",
    licence="images: free for research with citation, as stated by the U.S. National Library of Medicine; "
    "Shenzhen masks: CC BY-NC-SA 4.0",
    release="2014, Shenzhen masks 2018",
    find_cases=find_cases,
    read_case=read_case,
    paper=PaperProtocol(size=(256, 256)),
    channel_names=("xray",),
    options=(Option("--sides", "a class for each lung, from Montgomery's official masks only", default=False),),
    with_options=with_sides,
)
