"""nnU-Net's three folders, as its variables name them, and the data sets in them."""

import os
import re
import tempfile
from pathlib import Path

RAW, PREPROCESSED, RESULTS = VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
DATASET = re.compile(r"Dataset(\d{3,})_(.+)")


def nnunet_folder(variable: str) -> Path:
    """The folder that nnU-Net's `variable` names.

    Raises:
        ValueError: the variable is not set.
    """
    value = os.environ.get(variable)
    if not value:
        raise ValueError(f"{variable} is not set: export {variable}=/a/folder/of/yours, as for nnU-Net's own commands")
    return Path(value)


def require_writable(variable: str, folder: Path) -> None:
    """Make `folder`, which `variable` names, if it is not there, and try whether files can be written in it.

    Raises:
        OSError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"{variable}={folder}: cannot be written ({error.strerror}); change its rights or free some space, or set "
            f"{variable} to another folder"
        ) from error


def dataset_number(folder_name: str) -> int:
    """501 of `Dataset501_PH2`."""
    match = DATASET.fullmatch(folder_name)
    if match is None:
        raise ValueError(f"got {folder_name!r}, wanted the name of a data set's folder, such as Dataset501_PH2")
    return int(match[1])


def find_dataset_folder(asked: str) -> str:
    """The folder name of a data set in nnU-Net's folders, asked for as `501`, `Dataset501_PH2` or `PH2`.

    Raises:
        ValueError: there is none, or more than one.
    """
    folders = [Path(os.environ[variable]) for variable in VARIABLES if os.environ.get(variable)]
    there = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}
    matches = [match for name in sorted(there) if (match := DATASET.fullmatch(name))]
    number = int(asked) if asked.isdecimal() else None
    found = [match[0] for match in matches if asked in (match[0], match[2]) or int(match[1]) == number]
    if len(found) > 1:
        raise ValueError(f"-d {asked}: got several data sets of this name or number, {', '.join(found)}; wanted one")
    if not found:
        known = f"; there are {', '.join(match[0] for match in matches)}" if matches else ""
        raise ValueError(
            f"-d: got {asked}, wanted the number or name of a data set in nnU-Net's folders{known}. Convert the data "
            "first (nnunet_mamba convert), or set nnUNet_raw to where it is"
        )
    return found[0]
