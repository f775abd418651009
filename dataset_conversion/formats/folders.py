"""Folders of cases: walking a source tree, finding where the data set starts, and pairing images with masks."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nnunet_mamba.dataset_conversion.dataset import BadCase

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
NIFTI_ENDINGS = (".nii.gz", ".nii")
SEARCH_DEPTH = 4  # levels below the source
ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".tgz", ".tar.gz")
MAX_NAMED = 5

Identify = Callable[[str], str | None]  # from a stem to the id of its case; None: another kind of file
ById = dict[str, list[Path]]


def subfolders(folder: Path) -> list[Path]:
    """Sorted, without hidden folders and without those that macOS adds to zips."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))]
    return [folder / name for name in sorted(names)]


def list_files(folder: Path, endings: tuple[str, ...] = IMAGE_ENDINGS) -> list[Path]:
    """The files of a folder with one of the endings, in upper or lower case, sorted and without hidden files."""
    return sorted(
        path for path in folder.iterdir() if path.name.lower().endswith(endings) and not path.name.startswith(".")
    )


def walk(folder: Path) -> Iterator[Path]:
    """`folder` and the folders below it, level by level, down to `SEARCH_DEPTH` levels."""
    for level in _levels(folder):
        yield from level


def find_roots(folder: Path, is_root: Callable[[Path], bool]) -> list[Path]:
    """The folders that `is_root` accepts, on the first level of `walk` that has any."""
    return next((roots for level in _levels(folder) if (roots := [path for path in level if is_root(path)])), [])


def only_root(roots: list[Path], folder: Path, data_set: str, layout: str) -> Path:
    """The one root in `folder`.

    Raises:
        ValueError: none, or more than one.
    """
    if not roots:
        raise wrong_layout(folder, data_set, layout)
    if len(roots) > 1:
        found = ", ".join(map(str, roots))
        raise ValueError(f"{folder}: holds {len(roots)} {data_set} trees ({found}); give one of them to -i")
    return roots[0]


def find_image_and_mask_folders(
    folder: Path,
    image_name: str,
    mask_name: str,
    data_set: str,
    layout: str,
    prefer: str | None = None,
) -> tuple[Path, Path]:
    """The folder of images and the folder of masks that lie side by side, on the first level that has such a pair.

    Names are compared in lower case, without spaces and signs. Of several pairs, the one below a folder named `prefer`
    wins.

    Raises:
        ValueError: no pair, or several and none of them preferred.
    """

    def pair_in(place: Path) -> list[Path]:
        named = {re.sub(r"[^a-z0-9]", "", inner.name.lower()): inner for inner in subfolders(place)}
        return [named[name] for name in (image_name, mask_name) if name in named]

    roots = find_roots(folder, lambda place: len(pair_in(place)) == 2)
    if len(roots) > 1:
        roots = [root for root in roots if root.name.lower() == prefer] or roots
    images, masks = pair_in(only_root(roots, folder, data_set, layout))
    return images, masks


def stem(path: Path) -> str:
    """The name of a file without its ending."""
    return path.name[:-7] if path.name.lower().endswith(".nii.gz") else path.stem


def by_id(paths: Iterable[Path], identify: Identify = lambda name: name) -> ById:
    """The files of each id."""
    found: ById = {}
    for path in paths:
        id = identify(stem(path))
        if id is not None:
            found.setdefault(id, []).append(path)
    return found


def pair_up(
    images: ById, masks: ById, unlabelled_is_expected: Callable[[str], bool] = lambda id: False
) -> tuple[dict[str, tuple[Path, Path]], list[BadCase]]:
    """(image, mask) of each id with exactly one of both; every other id is a bad case."""
    pairs, bad = {}, []
    for id in sorted(images.keys() | masks.keys()):
        found = images.get(id, []), masks.get(id, [])
        doubles = [(kind, paths) for kind, paths in zip(("images", "masks"), found, strict=True) if len(paths) > 1]
        if doubles:
            kind, paths = doubles[0]
            bad.append(BadCase(id, f"{id} has {len(paths)} {kind}: {', '.join(map(str, paths))}; keep one"))
        elif not found[1]:
            bad.append(BadCase(id, f"{found[0][0]}: an image without a mask", unlabelled_is_expected(id)))
        elif not found[0]:
            bad.append(BadCase(id, f"{found[1][0]}: a mask without an image"))
        else:
            pairs[id] = found[0][0], found[1][0]
    return pairs, bad


def wrong_layout(folder: Path, data_set: str, layout: str, found: str | None = None) -> ValueError:
    """The error for a source that is not the data set. It may still be packed: the error names archives."""
    packed = [str(path.relative_to(folder)) for place in walk(folder) for path in list_files(place, ARCHIVES)]
    more = f" and {len(packed) - MAX_NAMED} more" if len(packed) > MAX_NAMED else ""
    hint = f"; unpack {', '.join(packed[:MAX_NAMED])}{more} first, or give a zip itself" if packed else ""
    return ValueError(
        f"{folder}: not the layout of {data_set}; expected {layout}; found {found or name_content(folder)}{hint}"
    )


def name_content(folder: Path) -> str:
    """What a folder holds, in a few words."""
    found = sorted(path.name for path in folder.iterdir())
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return ", ".join(found[:MAX_NAMED]) + more or "an empty folder"


def _levels(folder: Path) -> Iterator[list[Path]]:
    level = [folder]
    for _ in range(SEARCH_DEPTH + 1):
        yield level
        level = [inner for path in level for inner in subfolders(path)]
