"""Where a data set goes: nnU-Net's folders, and whether the id is free."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_mamba.nnunet_folders import PREPROCESSED, RAW, RESULTS, nnunet_folder, require_writable


@dataclass(frozen=True)
class Target:
    """nnU-Net's raw folder, its preprocessed one (None: not set), and the data set's folder name in both.

    `overwrite`: a data set of this name may be there; it is replaced.
    """

    raw: Path
    preprocessed: Path | None
    folder_name: str
    overwrite: bool = False


def find_target(dataset_id: int, name: str, sources: Sequence[Path] = (), overwrite: bool = False) -> Target:
    """The target of the data set `name` under a free id, or with `overwrite` under its own id.

    Raises:
        ValueError: nnUNet_raw is not set or not a folder, the id is outside 1 to 999, or a data set has it already.
            nnU-Net looks an id up in the raw, the preprocessed and the results folder, so all three count. Or one of
            the `sources` would be overwritten.
        OSError: nnUNet_raw or nnUNet_preprocessed cannot be written.
    """
    if not 1 <= dataset_id <= 999:
        raise ValueError(f"-d {dataset_id} is not an nnU-Net data set id; choose one from 1 to 999")
    raw = _folder(RAW)
    preprocessed, results = (
        _folder(variable) if os.environ.get(variable) else None for variable in (PREPROCESSED, RESULTS)
    )
    prefix = f"Dataset{dataset_id:03d}"
    taken = [
        path
        for folder in (raw, preprocessed, results)
        if folder is not None and folder.is_dir()
        for path in sorted(folder.iterdir())
        if path.is_dir() and path.name.startswith(prefix)
    ]
    own = all(path.name == f"{prefix}_{name}" for path in taken)
    if taken and not (overwrite and own):
        advice = "--overwrite only replaces one of the same name" if overwrite else "or replace it with --overwrite"
        raise ValueError(
            f"-d {dataset_id} is in use: {', '.join(map(str, taken))}; choose another -d, or delete what is there"
            + (f"; {advice}" if overwrite or own else "")
        )
    for path in taken:
        for source in sources:
            if source.resolve().is_relative_to(path.resolve()):
                raise ValueError(f"{source}: --overwrite would delete this source with {path}; choose another -d")
        if path.parent == results:
            print(f"{path}: models that were trained with the data before are kept")
    for variable, folder in ((RAW, raw), (PREPROCESSED, preprocessed)):
        if folder is not None:
            require_writable(variable, folder)
    return Target(raw, preprocessed, f"{prefix}_{name}", overwrite)


def _folder(variable: str) -> Path:
    folder = nnunet_folder(variable).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{variable} is {folder}, which is a file; set it to a folder")
    return folder
