"""The data set as downloaded: a folder, or a zip that is checked and unpacked for the time of the conversion."""

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from nnunet_mamba.dataset_conversion.pipeline.staging import hidden_folder

BOMB_BYTES = 64 * 2**20  # smaller files are harmless, however well they are compressed
BOMB_RATIO = 100  # unpacked to packed size; zips of bitmaps stay below 10


@contextmanager
def open_source(source: Path, workplace: Path, name: str, inner_zips: Sequence[str] = ()) -> Iterator[Path]:
    """The folder to search: `source` itself, or a hidden folder in `workplace` with its content, removed afterwards.

    Args:
        name: of the hidden folder.
        inner_zips: names of zips that are unpacked too, each into a folder of its name, if `source` holds them packed.
    Raises:
        ValueError: nothing there, an empty folder, neither folder nor zip, or a zip that is broken, encrypted or unsafe
            (absolute paths, `..`, links, two entries of one name, a size bomb).
    """
    if source.is_dir():
        if not any(source.iterdir()):
            raise ValueError(f"{source}: the folder is empty")
        inner = [path for path in map(source.joinpath, inner_zips) if zipfile.is_zipfile(path)]
        if not inner or any(path.with_suffix("").is_dir() for path in map(source.joinpath, inner_zips)):
            yield source
            return
    elif not source.exists():
        raise ValueError(f"{source}: no such folder or zip; check -i")
    elif zipfile.is_zipfile(source):
        inner = []
    else:
        raise ValueError(
            f"{source}: neither a folder nor a readable zip; unpack other archives first and give the folder"
        )
    with hidden_folder(workplace, f"{name}.unpacked") as folder, _names_of(source, folder):
        if inner:
            for path in source.iterdir():
                if path.suffix == ".csv":
                    shutil.copy(path, folder)
        else:
            _unpack(source, folder)
            inner = [path for found in inner_zips for path in sorted(folder.rglob(found))]
        for path in inner:
            beside = folder if path.parent == source else path.parent
            _unpack(path, beside if path.stem.endswith(".csv") else beside / path.stem)
        yield folder


def _checked(archive: zipfile.ZipFile, source: Path) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """The entries to unpack, by path below the folder. An entry that could do harm is an error."""
    files: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = entry.filename.replace("\\", "/")
        path = PurePosixPath(name)
        if path.is_absolute() or re.match(r"[A-Za-z]:", name):
            raise ValueError(
                f"{source}: unsafe zip, entry {entry.filename!r} has an absolute path; nothing was unpacked"
            )
        if ".." in path.parts:
            raise ValueError(
                f"{source}: unsafe zip, entry {entry.filename!r} leaves the folder by '..'; nothing was unpacked"
            )
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise ValueError(f"{source}: unsafe zip, entry {entry.filename!r} is a symbolic link; nothing was unpacked")
        if entry.flag_bits & 1:
            raise ValueError(
                f"{source}: the zip is encrypted (entry {entry.filename!r}); unpack it and give the folder"
            )
        if name.endswith("/"):
            continue
        if path in files:
            raise ValueError(f"{source}: two entries are named {entry.filename!r}; nothing was unpacked")
        if entry.file_size > BOMB_BYTES and entry.file_size > BOMB_RATIO * entry.compress_size:
            raise ValueError(
                f"{source}: size bomb, entry {entry.filename!r} grows from {entry.compress_size:,} "
                f"to {entry.file_size:,} bytes; nothing was unpacked"
            )
        files[path] = entry
    total = sum(entry.file_size for entry in files.values())
    packed = source.stat().st_size
    if total > BOMB_BYTES and total > BOMB_RATIO * packed:
        raise ValueError(f"{source}: size bomb, its {packed:,} bytes unpack to {total:,}; nothing was unpacked")
    if not files:
        raise ValueError(f"{source}: the zip is empty")
    return files


def _unpack(source: Path, folder: Path) -> None:
    """Unpack the zip `source` into `folder`, after a look at all of its entries."""
    with _zip_errors(source), zipfile.ZipFile(source) as archive:
        files = _checked(archive, source)
        needed = sum(entry.file_size for entry in files.values())
        folder.mkdir(exist_ok=True)
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise ValueError(
                f"{source}: needs {needed:,} bytes unpacked, the disk of nnUNet_raw has {free:,} left; free some space"
            )
        with tqdm(total=needed, desc=f"{'unpacking':<10}", unit="B", unit_scale=True) as bar:
            for name, entry in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as packed, open(path, "wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)  # zipfile stops at the checked size
                bar.update(entry.file_size)


@contextmanager
def _names_of(source: Path, folder: Path) -> Iterator[None]:
    """Errors name the entry in the zip, not the unpacked file, which is gone when the user reads the message."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace(str(folder), str(source))) from error


@contextmanager
def _zip_errors(source: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ValueError(
            f"{source}: broken or unsupported zip ({error}); download it again, or unpack it and give the folder"
        ) from error
