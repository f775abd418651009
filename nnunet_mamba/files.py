"""Files are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: str | Path) -> Iterator[Path]:
    """A path beside `file` to write to: renamed to `file` at the end of the block, removed if the block raises.

    Whatever happens on the way (a full disk, Ctrl-C, a crash), `file` is the old one or the new one,
    never half of either.
    """
    file = Path(file)
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.unfinished")
    try:
        yield unfinished
        with open(unfinished, "r+b") as written:
            os.fsync(written.fileno())
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
