"""Nothing is left half-written: work in a hidden folder beside the target, then rename it."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nnunet_mamba.hidden_folders import PARTIAL, REPLACED, in_use, left_behind


@contextmanager
def hidden_folder(parent: Path, name: str) -> Iterator[Path]:
    """A new folder `parent/.NAME.XXXXXXXX.partial`. It is removed afterwards, unless it was renamed.

    nnU-Net takes every folder whose name starts with `Dataset` for a data set; the dot hides this one.

    Raises:
        OSError: a full disk, in words that say so.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f".{name}.{uuid.uuid4().hex[:8]}{PARTIAL}"
    try:
        folder.mkdir()
        with in_use(folder):
            yield folder
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                f"no space left in {parent}; free some, or give nnU-Net a folder on another disk; nothing was written"
            ) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def interrupts_say_what_is_there(final: Path) -> Iterator[None]:
    """Ctrl-C, or another signal, in the block tells whether the data set `final` was written by then."""

    def identity() -> int | None:
        return final.stat().st_ino if final.exists() else None

    before = identity()
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.args = ("nothing was written" if identity() == before else f"{final} was written",)
        raise


def clear_left_behind(parents: Sequence[Path], name: str) -> None:
    """Remove the hidden folders of `name` that a killed conversion left in `parents`; name those that may be in use."""
    for folder, certain in left_behind(parents).items():
        if not folder.name.startswith(f".{name}."):
            continue
        if certain and folder.suffix == PARTIAL:
            shutil.rmtree(folder, ignore_errors=True)
            print(f"removed {folder}, which a killed conversion left")
        elif folder.suffix == PARTIAL:
            print(f"found {folder}: delete it if no conversion is running")
        else:
            print(f"found {folder}: the data set before a conversion that was killed; rename it back, or delete it")


@contextmanager
def set_aside(folders: Sequence[Path]) -> Iterator[None]:
    """Frees the names of those `folders` that are there; they are removed after the block, or put back if it raises."""
    moved: dict[Path, Path] = {}
    try:
        for folder in folders:
            if folder.exists():
                aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}{REPLACED}")
                os.rename(folder, aside)
                moved[aside] = folder
        yield
    except BaseException:
        for aside, folder in moved.items():
            os.rename(aside, folder)
        raise
    for aside in moved:
        shutil.rmtree(aside, ignore_errors=True)


def rename_all(moves: Sequence[tuple[Path, Path]]) -> None:
    """Rename each (hidden folder, final folder). If one fails, the ones already renamed are removed.

    Raises:
        FileExistsError: a final folder has appeared in the meantime.
    """
    done: list[Path] = []
    try:
        for hidden, final in moves:
            if final.exists():
                raise FileExistsError(f"{final} appeared while converting; delete it or choose another -d")
            os.rename(hidden, final)
            done.append(final)
    except BaseException:
        for final in done:
            shutil.rmtree(final, ignore_errors=True)
        raise
