"""Sets that keep images in one folder and masks in another: the files of a folder, and which mask belongs to which image."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nnunet_mamba.dataset_conversion.cases import BadCase
from nnunet_mamba.dataset_conversion.tree import name_found, subfolders

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
SEARCH_DEPTH = 4

Identify = Callable[[str], str | None]  # a stem -> the case's id; None: the file is something else


def walk(folder: Path, depth: int = SEARCH_DEPTH) -> Iterator[Path]:
    """`folder` and the folders below it, level by level, sorted, down to `depth` levels."""
    level = [folder]
    for _ in range(depth + 1):
        yield from level
        level = [inner for path in level for inner in subfolders(path)]


def list_files(folder: Path, endings: tuple[str, ...] = IMAGE_ENDINGS) -> list[Path]:
    """The files of a folder with one of the endings, in any case, sorted; hidden ones are none."""
    return sorted(
        path for path in folder.iterdir() if path.name.lower().endswith(endings) and not path.name.startswith(".")
    )


def stem(path: Path) -> str:
    """The name without its ending, of `.nii.gz` without both."""
    return path.name[:-7] if path.name.lower().endswith(".nii.gz") else path.stem


def by_id(paths: Iterable[Path], identify: Identify) -> dict[str, list[Path]]:
    """The files of each id."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        id = identify(stem(path))
        if id is not None:
            found.setdefault(id, []).append(path)
    return found


def pair_up(
    images: dict[str, list[Path]],
    masks: dict[str, list[Path]],
    unlabelled_is_expected: Callable[[str], bool] = lambda id: False,
) -> tuple[dict[str, tuple[Path, Path]], list[BadCase]]:
    """(image, mask) of each id that has one of both, and the others; every id that is not paired is among those."""
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


def find_root(
    folder: Path,
    image_names: tuple[str, ...],
    mask_names: tuple[str, ...],
    data_set: str,
    layout: str,
    prefer: str | None = None,
) -> tuple[Path, Path]:
    """The folders of images and of masks that lie side by side, on the first level that has such; names without regard to case,
    spaces and signs. Of several roots the one named `prefer` wins.

    Raises:
        ValueError: none, or more than one and none of that name.
    """
    roots: list[tuple[Path, Path]] = []
    for place in walk(folder):
        if roots and len(place.parts) > len(roots[0][0].parent.parts):
            break
        named = {re.sub(r"[^a-z0-9]", "", inner.name.lower()): inner for inner in subfolders(place)}
        images, masks = ([named[name] for name in names if name in named] for names in (image_names, mask_names))
        if images and masks:
            roots.append((images[0], masks[0]))
    if not roots:
        raise ValueError(f"{folder}: not the layout of {data_set}; expected {layout}; found {name_found(folder)}")
    if len(roots) > 1:
        roots = [root for root in roots if root[0].parent.name.lower() == prefer] or roots
    if len(roots) > 1:
        found = ", ".join(str(root[0].parent) for root in roots)
        raise ValueError(f"{folder}: holds {len(roots)} {data_set} trees ({found}); give one of them to -i")
    return roots[0]
