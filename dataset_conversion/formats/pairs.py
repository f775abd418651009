"""Images and their masks in any two trees, or in one, by name; each below the folder of its patient, if there is one.

    images/a.png               masks/a.png, masks/a_mask.png
    images/P01/a.png           masks/P01/a_mask.png
    data/P01/images/a.png      data/P01/masks/a.png
    data/P01/a.tif             data/P01/a_mask.tif
    data/P01/image.nii.gz      data/P01/label.nii.gz

The folders of a file are those between the source and the file, without the ones that only say `images` or `masks`. An
image and a mask belong together if their folders are the same, and their stems are, too: without an ending such as
`_image` or `_0000`, `_mask`, `_segmentation`, `_label` or `_gt`. If a folder of a patient holds one image and one mask,
they belong together whatever their names.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nnunet_mamba.dataset_conversion.dataset import BadCase
from nnunet_mamba.dataset_conversion.formats.folders import (
    IMAGE_ENDINGS,
    NIFTI_ENDINGS,
    ById,
    list_files,
    name_content,
    pair_up,
    stem,
    subfolders,
    walk,
)

_MASK = r"masks?|segmentation|segm?|labels?|gt|ground[ _-]?truth|annotation|anno|manual1?"
IMAGE_ENDING = re.compile(r"[ _.-](image|img|0000)$", re.IGNORECASE)
MASK_ENDING = re.compile(rf"[ _.-]({_MASK}|lesion)$", re.IGNORECASE)
IMAGE_WORD = re.compile(r"(images?|imgs?|scans?)(tr|ts)?", re.IGNORECASE)  # a whole stem or folder
MASK_WORD = re.compile(rf"({_MASK})s?(tr|ts)?", re.IGNORECASE)


class Found(NamedTuple):
    """A file, its folders below the source, and its stem."""

    path: Path
    folders: tuple[str, ...]
    stem: str

    @property
    def name(self) -> str:
        """`P01/a.png`."""
        return "/".join((*self.folders, self.path.name))

    @property
    def text(self) -> str:
        """`P01/a`, or without folders `a`."""
        return "/".join((*self.folders, self.stem))

    @property
    def id(self) -> str:
        """`P01_a`; the stem, if it starts with its folder's name; the folder, if the stem only says `image`."""
        if not self.folders:
            return self.stem
        if IMAGE_WORD.fullmatch(self.stem):
            return "_".join(self.folders)
        named = re.match(rf"{re.escape(self.folders[-1])}(?![A-Za-z0-9])", self.stem)
        return self.stem if named else "_".join((*self.folders, self.stem))


def find_files(images: Path, masks: Path | None) -> tuple[list[Found], list[Found]]:
    """The images below `images` and the masks below `masks`, or both below `images`.

    Raises:
        ValueError: no images or no masks.
    """
    if masks is None:
        files = _below(images)
        folders_tell = any(_kind_of_folder(images, file) is MASK_WORD for file in files)
        found = (
            [file for file in files if not _is_mask(images, file, folders_tell)],
            [file for file in files if _is_mask(images, file, folders_tell)],
        )
        if not found[1]:
            raise ValueError(
                f"{images}: holds no masks, told by a name such as a_mask.png or masks/a.png, found "
                f"{name_content(images)}; give the folder they are in with --masks"
            )
    else:
        found = _below(images, without=masks), _below(masks, without=images)
    for files, folder, option in zip(found, (images, masks or images), ("--images", "--masks"), strict=True):
        if not files:
            kinds = ", ".join(ending[1:] for ending in (*IMAGE_ENDINGS, *NIFTI_ENDINGS))
            content = name_content(folder)
            raise ValueError(
                f"{folder}: holds no images ({kinds}), found {content}; give {option} the folder they are in"
            )
    return found


def pair_files(images: Sequence[Found], masks: Sequence[Found]) -> tuple[list[tuple[Found, Path]], list[BadCase]]:
    """Each image with its mask file, and the files without a partner.

    Raises:
        ValueError: no image has a mask.
    """
    by_text: ById = {}
    owners = {}
    for image in images:
        by_text.setdefault(image.text, []).append(image.path)
        owners[image.text] = image
    keys = {(image.folders, _key(image, IMAGE_ENDING, IMAGE_WORD)): image.text for image in images}
    of_mask: ById = {}
    for mask in masks:
        of_mask.setdefault(_owner(mask, owners, keys), []).append(mask.path)
    _pair_the_only_ones(images, masks, by_text, of_mask)
    if by_text.keys().isdisjoint(of_mask):
        raise ValueError(
            f"{images[0].path}: an image without a mask, as all others; expected {images[0].stem} or "
            f"{images[0].stem}_mask in the same folder of the masks, got names such as {masks[0].name}"
        )
    pairs, bad = pair_up(by_text, of_mask)
    return [(owners[text], mask) for text, (_, mask) in pairs.items()], bad


def _owner(mask: Found, owners: dict[str, Found], keys: dict[tuple[tuple[str, ...], str], str]) -> str:
    """The text of the mask's image, or the mask's own text if there is no image."""
    if mask.text in owners:
        return mask.text
    stems = _key(mask, MASK_ENDING, MASK_WORD), _key(mask, IMAGE_ENDING, IMAGE_WORD)
    return next((keys[mask.folders, name] for name in stems if (mask.folders, name) in keys), mask.text)


def _pair_the_only_ones(images: Sequence[Found], masks: Sequence[Found], by_text: ById, of_mask: ById) -> None:
    """Give a mask to the image of its folder where each is the only one there."""
    for folders in {image.folders for image in images} - {()}:
        (image, *more), there = ([file for file in files if file.folders == folders] for files in (images, masks))
        if not more and len(there) == 1 and image.text not in of_mask:
            of_mask.pop(there[0].text, None)
            of_mask[image.text] = [there[0].path]


def _below(root: Path, without: Path | None = None) -> list[Found]:
    """The images below `root`, but not those below `without`. A folder that holds only one folder is no patient's."""
    endings = (*IMAGE_ENDINGS, *NIFTI_ENDINGS)
    top = root
    while not list_files(top, endings) and len(inner := subfolders(top)) == 1:
        top = inner[0]
    inside = without is not None and without.resolve().is_relative_to(root.resolve())
    files = []
    for folder in walk(top):
        if without is None or not inside or not folder.resolve().is_relative_to(without.resolve()):
            parts = folder.relative_to(top).parts
            names = tuple(part for part in parts if not _says_kind(part))
            files += [Found(path, names, stem(path)) for path in list_files(folder, endings)]
    return files


def _says_kind(folder: str) -> bool:
    return bool(IMAGE_WORD.fullmatch(folder) or MASK_WORD.fullmatch(folder))


def _is_mask(root: Path, file: Found, folders_tell: bool) -> bool:
    kind = _kind_of_folder(root, file)
    if folders_tell and kind is not None:
        return kind is MASK_WORD
    return bool(MASK_ENDING.search(file.stem) or MASK_WORD.fullmatch(file.stem))


def _kind_of_folder(root: Path, file: Found) -> re.Pattern[str] | None:
    """Which word the innermost folder that says `images` or `masks` says."""
    parts = reversed(file.path.relative_to(root).parent.parts)
    return next((kind for part in parts for kind in (MASK_WORD, IMAGE_WORD) if kind.fullmatch(part)), None)


def _key(file: Found, ending: re.Pattern[str], word: re.Pattern[str]) -> str:
    """What the stems of an image and its mask have in common; nothing, if a patient's file only says what it is."""
    return "" if file.folders and word.fullmatch(file.stem) else ending.sub("", file.stem).casefold()
