"""Hidden folders `.NAME.XXXXXXXX.partial`, in which a conversion works, and what a killed one leaves of them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"
REPLACED = ".replaced"  # a data set on its way out, while another takes its name


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Marks `folder` as in use by this process, for as long as the block or the process lasts."""
    file = _locked(folder)
    try:
        yield
    finally:
        if file is not None:
            os.close(file)


def left_behind(parents: Iterable[Path]) -> dict[Path, bool]:
    """The hidden folders in `parents` that no living process uses, as far as one can tell; whether that is certain.

    It is certain where the system locks folders: not on Windows, and not on all network disks.
    """
    found = {}
    for parent in parents:
        for folder in sorted(parent.glob(".*")) if parent.is_dir() else ():
            if folder.suffix not in (PARTIAL, REPLACED) or not folder.is_dir():
                continue
            try:
                file = _locked(folder)
            except BlockingIOError:
                continue
            found[folder] = file is not None
            if file is not None:
                os.close(file)
    return found


def _locked(folder: Path) -> int | None:
    """A file descriptor that keeps `folder` locked until it is closed; None where it cannot be locked.

    Raises:
        BlockingIOError: it is locked already.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        file = os.open(folder, os.O_RDONLY)
    except OSError:  # another user's
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise
    except OSError:
        os.close(file)
        return None
    return file
