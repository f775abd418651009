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


def find_folders(folder: Path, name: str) -> list[Path]:
    """The folders whose name fits the pattern `name`, whatever its case, `folder` itself included, at the first level with any."""
    level = [folder]
    for _ in range(SEARCH_DEPTH + 1):
        found = [path for path in level if re.fullmatch(name, path.name, re.IGNORECASE)]
        if found:
            return found
        level = [inner for path in level for inner in subfolders(path)]
    return []


def unpacked(folder: Path) -> Path:
    """Where a folder holds nothing but one folder (as zips unpack), that one."""
    inner = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    return unpacked(inner[0]) if len(inner) == 1 and inner[0].is_dir() else folder


def unknown_layout(folder: Path, name: str, layouts: str, zips: str) -> ValueError:
    """What to say of a folder that does not hold the data set; `zips` is how the names of its archives look."""
    packed = sorted(path.name for path in folder.rglob(zips))
    hint = f"; unpack {', '.join(packed)} first, each into a folder of its name" if packed else ""
    return ValueError(f"{folder}: not the layout of {name}; expected {layouts}, found {name_found(folder)}{hint}")


def list_files(folder: Path, endings: tuple[str, ...] = IMAGE_ENDINGS) -> list[Path]:
    """The files of a folder with one of the endings, in any case, sorted; hidden ones are none."""
    return sorted(path for path in folder.iterdir() if path.name.lower().endswith(endings) and not path.name.startswith("."))


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
    images: dict[str, list[Path]], masks: dict[str, list[Path]], unlabelled_is_expected: Callable[[str], bool] = lambda id: False
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
