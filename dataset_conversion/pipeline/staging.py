"""Nothing is left half-written: work in a hidden folder beside the target, then rename it."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def hidden_folder(parent: Path, name: str) -> Iterator[Path]:
    """A new folder `parent/.NAME.XXXXXXXX.partial`. It is removed afterwards, unless it was renamed.

    nnU-Net takes every folder whose name starts with `Dataset` for a data set; the dot hides this one.

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
