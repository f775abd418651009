"""Kaggle's run-length masks: `start length start length ...`, starts counted from 1, down the columns."""

import csv
from pathlib import Path

import numpy as np

ID, PIXELS, HEIGHT, WIDTH = "ImageId", "EncodedPixels", "Height", "Width"


def read_table(path: Path) -> dict[str, list[tuple[int, str, str, str]]]:
    """The rows of each image id, as (line number, runs, height, width) for `decode`.

    Raises:
        ValueError: a column is missing, or the file is not text.
    """
    rows: dict[str, list[tuple[int, str, str, str]]] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in (ID, PIXELS, HEIGHT, WIDTH) if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(
                    f"{path}: no column {', '.join(missing)}; found {', '.join(reader.fieldnames or ['nothing'])}"
                )
            for row in reader:
                id, runs, height, width = ((row[name] or "").strip() for name in (ID, PIXELS, HEIGHT, WIDTH))
                rows.setdefault(id, []).append((reader.line_num, runs, height, width))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as a table ({error}); fetch this file again") from error
    return rows


def decode(path: Path, size: tuple[int, ...], line: int, runs: str, height: str, width: str) -> np.ndarray:
    """The mask (H, W) uint8 of 0 and 1 of one row.

    Raises:
        ValueError: not pairs of numbers, runs that leave the image, or an image of another size. The message names file
            and line.
    """
    where = f"{path}, line {line}"
    if (height, width) != tuple(map(str, size)):
        raise ValueError(f"{where}: the mask has {height}x{width} pixels (H x W), its image {size[0]}x{size[1]}")
    try:
        numbers = np.array([int(number) for number in runs.split()], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{where}: run lengths must be whole numbers ({error})") from error
    if len(numbers) % 2:
        raise ValueError(f"{where}: a start without a length; {len(numbers)} numbers, expected pairs")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    if len(numbers) and (starts.min() < 0 or lengths.min() < 1 or (starts + lengths).max() > size[0] * size[1]):
        raise ValueError(f"{where}: runs leave the {size[0]}x{size[1]} image; starts count from 1")
    steps = np.zeros(size[0] * size[1] + 1, np.int32)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + lengths, -1)
    return (np.cumsum(steps[:-1]) > 0).astype(np.uint8).reshape(size[::-1]).T
