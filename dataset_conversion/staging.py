"""Nothing half-written: work in a hidden folder beside the target, then rename."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hidden_folder(parent: Path, name: str) -> Iterator[Path]:
    """A new folder `parent/.NAME.XXXXXXXX.partial` that is gone afterwards, unless it was renamed meanwhile.

    nnU-Net takes folders whose names start with `Dataset` for data sets: the dot keeps this one out of its sight.

    Raises:
        OSError: a full disk, in words that say so.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f".{name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        folder.mkdir()
        yield folder
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(
                f"no space left in {parent}; free some, or give nnU-Net a folder on another disk; nothing was written"
            ) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def rename_all(moves: list[tuple[Path, Path]]) -> None:
    """Rename each (hidden folder, final folder); if one fails, those already renamed are removed again.

    Raises:
        FileExistsError: a final folder has appeared meanwhile.
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
