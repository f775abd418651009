"""Finds the cases in files and folders of any names."""

import re
from collections.abc import Sequence
from pathlib import Path

from nnunet_mamba.prediction.images import ImageReader

CHANNEL = re.compile(r"(.+)_(\d{4})")


def find_cases(inputs: Sequence[Path], reader: ImageReader) -> tuple[dict[str, list[Path]], list[Path]]:
    """{name of the case: its files} of image files and the images in folders, and the other files in these folders.

    If one file holds all the channels of the model, each file is a case, and an `_0000` at the end of its name does not
    count. Otherwise the files `CASE_0000`, `CASE_0001`, ... are the channels of a case, as for nnU-Net's own commands.

    Raises:
        OSError: there is no such file or folder.
        ValueError: no images, another format, or two images of one name.
    """
    files: list[Path] = []
    others: list[Path] = []
    for path in inputs:
        if path.is_dir():
            for file in sorted(path.iterdir()):
                if file.is_file() and not file.name.startswith("."):
                    (files if reader.ending_of(file) else others).append(file)
        else:
            reader.check_file(path)
            files.append(path)
    if not files:
        raise ValueError(
            f"-i {' '.join(map(str, inputs))}: got no image, wanted files in a format that the model's reader reads: "
            f"{' '.join(reader.endings)}"
        )
    several = _files_per_case(files, reader) > 1
    numbered: dict[str, dict[int, Path]] = {}
    for file in files:
        stem = file.name[: -len(reader.ending_of(file))]
        match = CHANNEL.fullmatch(stem)
        name, number = (match[1], int(match[2])) if match and (several or match[2] == "0000") else (stem, 0)
        other = numbered.setdefault(name, {}).setdefault(number, file)
        if other != file:
            raise ValueError(
                f"got {other} and {file}, whose labels would have one name: rename one, or predict it alone"
            )
    return {name: [of_case[number] for number in sorted(of_case)] for name, of_case in numbered.items()}, others


def _files_per_case(files: Sequence[Path], reader: ImageReader) -> int:
    """By the first file that can be read."""
    wanted = len(reader.channels)
    for file in files if wanted > 1 else ():
        try:
            in_file = len(reader.read_files([file]).channels)
        except ValueError:  # said when its turn comes
            continue
        return wanted // in_file if wanted % in_file == 0 else 1
    return 1
