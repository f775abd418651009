"""Generic: any folder of 2-D images beside a folder of masks, UWF-RHS for one (given out on request: images/ and masks/).

    nnunet_mamba convert generic --images images --masks masks -d 510
    nnunet_mamba convert generic --images images --masks masks -d 510 --name UWF --labels vessel lesion --group-regex "(P\\d+)_"

An image and its mask have the same name but for the ending, and for what is often added to a mask's: _mask, _segmentation, _seg,
_label, _labels, _gt, _lesion, or the same with a hyphen. Files directly in the two folders (or zips of them) are read, in any
format that Pillow knows: PNG, JPEG, TIFF, BMP and others.

Without `--labels` a mask is black and white: 0 and one other value, or what exceeds 127 (JPEG, anti-aliased outlines). With
`--labels A B` a mask holds 0 for background, 1 for A, 2 for B, as grey values or as indices of a palette; any other value is an
error.

Channels are R, G, B, or one with `--grey`, normalised image by image (z-score), which suits images of unknown lighting; 16-bit
grey images keep their range. Folds never split what `--group-regex` finds in a name (its first group in brackets, or all of it): a
patient, a video. Without it every image is a group of its own, so use it where a patient has several images.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.images import read_binary_mask, read_grey, read_indices, read_rgb
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset
from nnunet_mamba.dataset_conversion.recipe import Recipe
from nnunet_mamba.dataset_conversion.tree import name_found

SOURCE = False  # --images and --masks in place of -i
ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp")
MASK_SUFFIXES = ("mask", "segmentation", "seg", "label", "labels", "gt", "lesion")


def convert(
    images: str | Path,
    masks: str | Path,
    dataset_id: int,
    size: tuple[int, int] | None = None,
    test: int = 0,
    seed: int = 0,
    protocol: str | None = None,
    processes: int = 1,
    skip_bad: bool = False,
    name: str = "Generic",
    labels: Sequence[str] = (),
    grey: bool = False,
    group_regex: str | None = None,
) -> Path:
    """Convert a pair of folders into `nnUNet_raw/DatasetXXX_NAME` and return that folder.

    Args:
        images, masks: folders or zips, see above.
        name: of the data set, letters, digits, - and _.
        labels: names of the mask's values 1, 2, ...; none: black and white masks, whose class is `foreground`.
        grey: one channel instead of R, G, B.
        group_regex: what of an image's name (without ending) no two folds share.
            The other arguments are those of `ph2.convert`; there is no protocol of a paper.
    Raises:
        ValueError: an option, a folder or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    recipe = make_recipe(name, tuple(labels), grey, group_regex)
    own = {"name": name, "labels": list(labels), "grey": grey, "group_regex": group_regex}
    return convert_dataset(recipe, [images, masks], dataset_id, size, test, seed, protocol, processes, skip_bad, own)


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """This data set's own options."""
    parser.add_argument("--images", metavar="DIR", type=Path, required=True, help="folder or zip of the images")
    parser.add_argument("--masks", metavar="DIR", type=Path, required=True, help="folder or zip of the masks")
    parser.add_argument("--name", default="Generic", help="of the data set (default: Generic)")
    parser.add_argument("--labels", nargs="+", default=[], metavar="LABEL", help="names of the mask's values 1, 2, ...")
    parser.add_argument("--grey", action="store_true", help="one channel instead of R, G, B")
    parser.add_argument("--group-regex", metavar="REGEX", help="what of an image's name no two folds share")


def options(args: argparse.Namespace) -> dict:
    """For `convert`."""
    return {key: getattr(args, key) for key in ("images", "masks", "name", "labels", "grey", "group_regex")}


def make_recipe(name: str, labels: tuple[str, ...], grey: bool, group_regex: str | None) -> Recipe:
    """The data set with these options; a ValueError names one that is wrong."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ValueError(f"--name {name!r}: wanted letters, digits, - and _, as it becomes a part of folder names")
    if len(set(labels)) != len(labels) or "background" in labels or "ignore" in labels or len(labels) > 254:
        raise ValueError(f"--labels {' '.join(labels)}: wanted different names, without background and ignore, 254 at most")
    try:
        group = re.compile(group_regex) if group_regex else None
    except re.error as error:
        raise ValueError(f"--group-regex {group_regex!r}: not a regular expression ({error})") from error
    names = labels or ("foreground",)
    return Recipe(
        name=name,
        channel_names=("grey",) if grey else ("R", "G", "B"),
        labels={"background": 0, **{label: value for value, label in enumerate(names, start=1)}},
        description=f"{name}, converted from a folder of images and one of masks",
        reference="not stated",
        licence="that of the source",
        release="not stated",
        paper=None,
        find_cases=partial(find_cases, group),
        read_case=partial(read_case, bool(labels), grey),
    )


def find_cases(group: re.Pattern | None, images: Path, masks: Path) -> tuple[list[Case], list[BadCase]]:
    """Pairs of the two folders, and files without a partner, with two, or whose name the group's pattern does not match.

    Raises:
        ValueError: one of the folders holds no images.
    """
    found = _by_stem(images)
    partners: dict[str, list[Path]] = {stem: [] for stem in found}
    bad = []
    for paths in _by_stem(masks).values():
        for path in paths:
            stem = _image_of(path.stem, found)
            if stem is None:
                bad.append(BadCase(path.stem, f"{path}: a mask without an image; none in {images} has its name"))
            else:
                partners[stem].append(path)
    cases = []
    for stem, paths in found.items():
        case_id = re.sub(r"[^A-Za-z0-9_.-]", "_", stem)
        match = group.search(stem) if group else None
        if len(paths) > 1 or len(partners[stem]) > 1:
            together = ", ".join(map(str, [*paths, *partners[stem]]))
            bad.append(BadCase(case_id, f"{stem}: {together}; wanted one image and one mask"))
        elif not partners[stem]:
            bad.append(BadCase(case_id, f"{paths[0]}: an image without a mask; none in {masks} has its name"))
        elif group and not match:
            bad.append(BadCase(case_id, f"{paths[0]}: --group-regex {group.pattern!r} does not match its name"))
        else:
            cases.append(Case(case_id, _group_of(match) or stem, paths[0], partners[stem][0]))
    return cases, bad


def read_case(several: bool, grey: bool, case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8 or with `grey` (H, W) uint8 or uint16, and labels (H, W) uint8."""
    image = read_grey(case.image) if grey else read_rgb(case.image)
    return image, read_indices(case.mask) if several else read_binary_mask(case.mask)


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    """The images of a folder by name; where a zip or a folder holds nothing but one folder, those of that one."""
    places = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    if len(places) == 1 and places[0].is_dir():
        return _by_stem(places[0])
    stems: dict[str, list[Path]] = {}
    for path in sorted(places):
        if path.is_file() and path.suffix.lower() in ENDINGS:
            stems.setdefault(path.stem, []).append(path)
    if not stems:
        raise ValueError(f"{folder}: holds no images ({', '.join(ENDINGS)}); found {name_found(folder)}")
    return stems


def _image_of(mask: str, stems: dict[str, list[Path]]) -> str | None:
    if mask in stems:
        return mask
    for suffix in MASK_SUFFIXES:
        for joint in "_-":
            if mask.lower().endswith(joint + suffix) and mask[: -len(suffix) - 1] in stems:
                return mask[: -len(suffix) - 1]
    return None


def _group_of(match: re.Match | None) -> str | None:
    return (match[1] if match.re.groups and match[1] is not None else match[0]) if match else None


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("generic"))
