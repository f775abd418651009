"""What a search leaves beside the supernet's checkpoint, for the training that follows: slicing.json."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

SLICING_FILE = "slicing.json"


def write_result(folder: Path, result: Mapping) -> Path:
    """`result`, which holds `slicing` and how it was found, as slicing.json; a file there is replaced as a whole."""
    file = folder / SLICING_FILE
    beside = file.with_suffix(f".{os.getpid()}.partial")
    beside.write_text(json.dumps(result, indent=1))
    os.replace(beside, file)
    return file


def read_result(folder: Path) -> dict | None:
    """What write_result left in `folder`; None where there is nothing that it wrote."""
    try:
        result = json.loads((folder / SLICING_FILE).read_text())
        return result if {"slicing", "fitness"} <= result.keys() else None
    except (FileNotFoundError, json.JSONDecodeError, AttributeError):
        return None


def read_slicing(file: Path, blocks: int) -> tuple[tuple[int, int], ...]:
    """The slicing in `file`: (h, w) for each of `blocks` blocks.

    Raises:
        ValueError: the file holds no such slicing.
    """
    try:
        slicing = tuple(tuple(pair) for pair in json.loads(file.read_text())["slicing"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{file}: wanted JSON with 'slicing', a pair [h, w] for each block; run the search again"
        ) from error
    if len(slicing) != blocks:
        raise ValueError(
            f"{file}: got a slicing for {len(slicing)} blocks, wanted {blocks}: it was searched on a network of another size. "
            "Search with the plans that you train with"
        )
    return slicing
