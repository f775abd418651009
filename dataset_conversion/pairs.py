"""Images of one folder with masks of another, by the names that a data set gives them."""

import re
from pathlib import Path

from nnunet_mamba.dataset_conversion.tree import name_found, subfolders

SEARCH_DEPTH = 3


def files_matching(folder: Path, pattern: str) -> tuple[dict[str, Path], list[str]]:
    """The files of a folder whose whole name fits the pattern, by its first group; and complaints about two of one id."""
    files: dict[str, Path] = {}
    doubles = []
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(pattern, path.name, re.IGNORECASE)
        if match and path.is_file():
            if match[1] in files:
                doubles.append(f"{path}: a second file of {match[1]} beside {files[match[1]].name}")
            else:
                files[match[1]] = path
    return files, doubles


def find_folders(folder: Path, name: str) -> list[Path]:
    """The folders of that name (a pattern, whatever its case) at the first level that has any, `folder` itself included."""
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
