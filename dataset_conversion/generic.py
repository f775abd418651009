"""Any folder of 2-D images with a folder of masks, such as UWF-RHS.

    nnunet_mamba convert generic --images images --masks masks -d 510 --name UWF-RHS --group-regex "^(P[0-9]+)"
    python -m nnunet_mamba.dataset_conversion.generic --images images.zip --masks masks.zip -d 510

Reads png, jpg, bmp and tif files that lie in the two folders themselves, or in two zips. A mask belongs to the image of its stem,
or of its stem without an ending such as `_mask`, `_segmentation`, `_label`, `_gt`; an image's own ending `_image`, `_img` or
`_0000` does not count either. Every image needs one mask, and every mask one image.

The values of all the masks decide what is written:
- one class, `foreground`: masks with 0 and one other value; anti-aliased and JPEG masks, where more than 127 is foreground;
- several, `class_<value>`, renumbered from 1 in their order: values up to 31 with at least two besides 0 (indices, also those of
  a palette); or at most 8 shades besides 0, each in more than outlines (0, 128, 255, say). The report names them.
Masks in several colours are an error: colours do not say which class they stand for.

Channels are R, G, B, or one `grey` (8 or 16 bits) where all images have one channel; each image is normalised by itself
(z-score), which makes no assumption about what the values mean.

Folds keep images together whose stems have the same part that `--group-regex` finds (its first group, or all that it matches):
name the patient or video by it, for folds that do not leak. Without it every image is a group of its own.
"""

import argparse
import re
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.images import read_binary_mask, read_grey, read_rgb
from nnunet_mamba.dataset_conversion.mask_values import decide_classes, look_at, read_values
from nnunet_mamba.dataset_conversion.pairs import IMAGE_ENDINGS, by_id, list_files, pair_up
from nnunet_mamba.dataset_conversion.parallel import open_workers
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset
from nnunet_mamba.dataset_conversion.recipe import Recipe
from nnunet_mamba.dataset_conversion.source import open_source
from nnunet_mamba.dataset_conversion.target import find_target
from nnunet_mamba.dataset_conversion.tree import name_found

SOURCE = False  # no -i
IMAGE_SUFFIX = re.compile(r"[ _.-](image|img|0000)$", re.IGNORECASE)
MASK_SUFFIX = re.compile(
    r"[ _.-](masks?|segmentation|segm?|labels?|gt|ground[ _-]?truth|annotation|anno|manual1?|lesion)$", re.IGNORECASE
)
GREY_MODES = ("1", "L", "I", "I;16", "I;16B")


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
    group_regex: str | None = None,
) -> Path:
    """Convert a folder of images and one of masks into `nnUNet_raw/DatasetXXX_<name>` and return that folder.

    Args:
        images: folder or zip.
        masks: another folder or zip.
        protocol: there is none. The arguments after it are those of `ph2.convert`.
        name: of the data set, letters, digits, - and _.
        group_regex: searched for in an image's stem, see above.
    Raises:
        ValueError: an option, a folder or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    groups = _compile(group_regex)
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"--name takes letters, digits, - and _; got {name!r}")
    if Path(images).resolve() == Path(masks).resolve():
        raise ValueError(f"{images}: given as --images and as --masks; put the masks into a folder of their own")
    if processes < 1:
        raise ValueError(f"-np must be 1 or more, got {processes}")
    workplace = find_target(dataset_id, name).raw
    with ExitStack() as stack:
        folders = [stack.enter_context(open_source(Path(place), workplace)) for place in (images, masks)]
        grey = _all_grey(_files(folders[0], "--images"))
        with open_workers(processes) as workers:
            classes = decide_classes(workers.run(look_at, _files(folders[1], "--masks"), "looking"))
        own = {"group_regex": group_regex, "mask_values": list(classes) or "one class"}
        recipe = make_recipe(name, grey, classes, groups)
        return convert_dataset(recipe, folders, dataset_id, size, test, seed, protocol, processes, skip_bad, own)


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """This data set's own options."""
    parser.add_argument("--images", metavar="DIR", type=Path, required=True, help="folder or zip of images")
    parser.add_argument(
        "--masks", metavar="DIR", type=Path, required=True, help="folder or zip of masks with the same stems"
    )
    parser.add_argument("--name", default="Generic", help="of the data set (default: Generic)")
    parser.add_argument(
        "--group-regex", metavar="REGEX", help="the part of a stem that folds keep together, '^(P[0-9]+)' say"
    )


def options(args: argparse.Namespace) -> dict[str, str | Path | None]:
    """For `convert`."""
    return {"images": args.images, "masks": args.masks, "name": args.name, "group_regex": args.group_regex}


def find_cases(groups: re.Pattern | None, images: Path, masks: Path) -> tuple[list[Case], list[BadCase]]:
    """The images with the mask that belongs to each, and those that have none, or more than one, or no group."""
    by_stem = by_id(_files(images, "--images"), str)
    by_key = {_key(IMAGE_SUFFIX, stem): stem for stem in by_stem}
    found = by_id(_files(masks, "--masks"), lambda stem: _belongs_to(stem, by_stem, by_key))
    pairs, bad = pair_up(by_stem, found)
    cases = []
    for stem, pair in pairs.items():
        group = _group(groups, stem)
        if group:
            cases.append(Case(stem, group, *pair))
        else:
            bad.append(BadCase(stem, f"{pair[0]}: --group-regex {groups.pattern!r} finds nothing in {stem!r}"))
    return cases, bad


def read_case(grey: bool, classes: tuple[int, ...], case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) uint8, or with `grey` (H, W) uint8 or uint16, and labels (H, W) uint8 from 0 on."""
    image = read_grey(case.image) if grey else read_rgb(case.image)
    values = read_values(case.mask)
    if not classes:
        return image, read_binary_mask(case.mask)
    return image, np.searchsorted([0, *classes], values).astype(np.uint8)  # every value was looked at


def make_recipe(name: str, grey: bool, classes: tuple[int, ...], groups: re.Pattern | None) -> Recipe:
    """The recipe once it is known what images and masks are."""
    labels = {f"class_{value}": i for i, value in enumerate(classes, start=1)} or {"foreground": 1}
    return Recipe(
        name=name,
        channel_names=("grey",) if grey else ("R", "G", "B"),
        labels={"background": 0, **labels},
        description="Images and masks from two folders",
        reference="none given",
        licence="none given",
        release="none given",
        paper=None,
        find_cases=partial(find_cases, groups),
        read_case=partial(read_case, grey, classes),
    )


def _files(folder: Path, option: str) -> list[Path]:
    files = list_files(folder)
    if not files:
        kinds = ", ".join(ending[1:] for ending in IMAGE_ENDINGS)
        raise ValueError(
            f"{folder}: holds no images ({kinds}), found {name_found(folder)}; give {option} the folder they lie in"
        )
    return files


def _all_grey(paths: Iterable[Path]) -> bool:
    """By the headers; a broken file is named when its case is verified."""
    modes = set()
    for path in paths:
        try:
            with Image.open(path) as image:
                modes.add(image.mode)
        except Exception:  # whatever Pillow's decoders raise
            continue
    return bool(modes) and modes <= set(GREY_MODES)


def _belongs_to(stem: str, by_stem: dict[str, list[Path]], by_key: dict[str, str]) -> str:
    """The stem of the mask's image; the mask's own if there is none."""
    if stem in by_stem:
        return stem
    return by_key.get(_key(MASK_SUFFIX, stem)) or by_key.get(_key(IMAGE_SUFFIX, stem)) or stem


def _key(suffix: re.Pattern, stem: str) -> str:
    return suffix.sub("", stem).casefold()


def _group(groups: re.Pattern | None, stem: str) -> str | None:
    if groups is None:
        return stem
    match = groups.search(stem)
    return match and match[1 if groups.groups else 0]


def _compile(group_regex: str | None) -> re.Pattern | None:
    if group_regex is None:
        return None
    try:
        return re.compile(group_regex)
    except re.error as error:
        raise ValueError(f"--group-regex {group_regex!r} is not a regular expression: {error}") from error


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("generic"))
