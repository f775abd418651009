"""Any folder of 2-D images with a folder of masks, such as UWF-RHS.

    nnunet_mamba convert generic --images images --masks masks -d 510 --name UWF-RHS --group-regex "^(P[0-9]+)"
    nnunet_mamba convert generic --images images.zip --masks masks.zip -d 510

In Python the two folders are the source: `convert("generic", ("images", "masks"), 510, name="UWF-RHS")`.

Reads png, jpg, bmp and tif files directly in the two folders, or in two zips. A mask belongs to the image with its
stem, or with its stem without an ending such as `_mask`, `_segmentation`, `_label`, `_gt`. An image's own ending
`_image`, `_img` or `_0000` does not count either. Every image needs one mask, and every mask one image.

The values of all masks decide what is written:
- one class, `foreground`, if masks hold 0 and one other value, or are anti-aliased or JPEG (above 127 is foreground);
- several classes, `class_<value>`, renumbered from 1, if there are at least two values besides 0 and none above 31
  (indices, also of a palette), or at most 8 shades besides 0 that fill more than outlines (such as 0, 128, 255). The
  report names the values.
Masks in several colours are an error, because colours do not say which class they stand for.

Channels are R, G, B, or one `grey` (8 or 16 bits) if all images have one channel. Each image is normalised by itself
(z-score), which assumes nothing about what the values mean.

Folds keep images together if `--group-regex` finds the same part in their stems: its first group, or the whole match.
Let it find the patient or video, so that folds do not leak. Without it each image is a group of its own.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from nnunet_mamba.dataset_conversion.dataset import BadCase, Case, Dataset, Option, Source
from nnunet_mamba.dataset_conversion.formats.folders import (
    IMAGE_ENDINGS,
    ById,
    by_id,
    list_files,
    name_content,
    pair_up,
)
from nnunet_mamba.dataset_conversion.formats.images import read_binary_mask, read_grey, read_rgb
from nnunet_mamba.dataset_conversion.formats.mask_values import decide_classes, look_at, read_values
from nnunet_mamba.dataset_conversion.pipeline.parallel import Workers

IMAGE_SUFFIX = re.compile(r"[ _.-](image|img|0000)$", re.IGNORECASE)
MASK_SUFFIX = re.compile(
    r"[ _.-](masks?|segmentation|segm?|labels?|gt|ground[ _-]?truth|annotation|anno|manual1?|lesion)$", re.IGNORECASE
)
GREY_MODES = {"1", "L", "I", "I;16", "I;16B"}

Groups = re.Pattern[str]


def find_cases(images: Path, masks: Path, groups: Groups | None = None) -> tuple[list[Case], list[BadCase]]:
    """The images with their masks, and those with no mask, several masks or no group."""
    by_stem = by_id(_files(images, "--images"))
    by_key = {_key(IMAGE_SUFFIX, stem): stem for stem in by_stem}
    found = by_id(_files(masks, "--masks"), lambda stem: _belongs_to(stem, by_stem, by_key))
    pairs, bad = pair_up(by_stem, found)
    if groups is None:
        return [Case(stem, stem, *pair) for stem, pair in pairs.items()], bad
    cases = []
    for stem, pair in pairs.items():
        match = groups.search(stem)
        group = match and match[1 if groups.groups else 0]
        if group:
            cases.append(Case(stem, group, *pair))
        else:
            bad.append(BadCase(stem, f"{pair[0]}: --group-regex {groups.pattern!r} finds nothing in {stem!r}"))
    return cases, bad


def read_case(case: Case, grey: bool = False, classes: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray | None]:
    """Image (H, W, 3) uint8, or with `grey` (H, W) uint8 or uint16, and labels (H, W) uint8 from 0 on."""
    image = read_grey(case.image) if grey else read_rgb(case.image)
    if case.mask is None:
        return image, None
    values = read_values(case.mask)
    if not classes:
        return image, read_binary_mask(case.mask)
    return image, np.searchsorted([0, *classes], values).astype(np.uint8)  # `classes` holds every value that occurs


def with_options(dataset: Dataset, name: str, group_regex: str | None) -> Dataset:
    """The data set with the user's name and groups.

    Raises:
        ValueError: neither a usable name nor a regular expression.
    """
    if group_regex is not None:
        try:
            groups = re.compile(group_regex)
        except re.error as error:
            raise ValueError(f"--group-regex {group_regex!r} is not a regular expression: {error}") from error
        dataset = replace(dataset, find_cases=partial(find_cases, groups=groups))
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"--name takes letters, digits, - and _; got {name!r}")
    return replace(dataset, name=name)


def with_sources(dataset: Dataset, folders: Sequence[Path], workers: Workers) -> Dataset:
    """The data set with the channels of the images and the classes of the masks."""
    grey = _all_grey(_files(folders[0], "--images"))
    classes = decide_classes(workers.run(look_at, _files(folders[1], "--masks"), "looking"))
    labels = {f"class_{value}": i for i, value in enumerate(classes, start=1)} or {"foreground": 1}
    return replace(
        dataset,
        channel_names=("grey",) if grey else dataset.channel_names,
        labels={"background": 0, **labels},
        read_case=partial(read_case, grey=grey, classes=classes),
        facts={"mask_values": list(classes) or "one class"},
    )


def _files(folder: Path, option: str) -> list[Path]:
    files = list_files(folder)
    if not files:
        kinds = ", ".join(ending[1:] for ending in IMAGE_ENDINGS)
        raise ValueError(
            f"{folder}: holds no images ({kinds}), found {name_content(folder)}; give {option} the folder they are in"
        )
    return files


def _all_grey(paths: Iterable[Path]) -> bool:
    """Told by the headers. A broken file does not count; the verification names it."""
    modes = set()
    for path in paths:
        try:
            with Image.open(path) as image:
                modes.add(image.mode)
        except Exception:  # broken files: Pillow raises many types
            continue
    return bool(modes) and modes <= GREY_MODES


def _belongs_to(stem: str, by_stem: ById, by_key: dict[str, str]) -> str:
    """The stem of the mask's image, or the mask's own stem if there is no image."""
    if stem in by_stem:
        return stem
    return by_key.get(_key(MASK_SUFFIX, stem)) or by_key.get(_key(IMAGE_SUFFIX, stem)) or stem


def _key(suffix: re.Pattern[str], stem: str) -> str:
    return suffix.sub("", stem).casefold()


GENERIC = Dataset(
    name="generic",
    what="any folder of images and folder of masks, given instead of `-i`",
    segments="one class or several, by the masks' values",
    never_split="image, or what `--group-regex` finds",
    labels={"background": 0, "foreground": 1},
    description="Images and masks from two folders",
    reference="none given",
    licence="none given",
    release="none given",
    find_cases=find_cases,
    read_case=read_case,
    sources=(
        Source("--images", "DIR", "folder or zip of images"),
        Source("--masks", "DIR", "folder or zip of masks with the same stems"),
    ),
    options=(
        Option("--name", "of the data set", default="Generic"),
        Option("--group-regex", "the part of a stem that folds keep together, such as '^(P[0-9]+)'"),
    ),
    with_options=with_options,
    with_sources=with_sources,
)
