"""Looking through a source tree: its folders without the clutter, and what to name in an error."""

import os
from pathlib import Path

MAX_NAMED = 5


def subfolders(folder: Path) -> list[Path]:
    """Sorted, without hidden ones and what macOS adds to zips."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))]
    return [folder / name for name in sorted(names)]


def name_found(folder: Path) -> str:
    """What a folder holds, in a few words."""
    found = sorted(path.name for path in folder.iterdir())
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return ", ".join(found[:MAX_NAMED]) + more or "an empty folder"
