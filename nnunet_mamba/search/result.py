"""The result of a search: slicing.json beside the supernet's checkpoint, which the next training reads."""

import json
from collections.abc import Mapping
from pathlib import Path

from nnunet_mamba.files import replacing

SLICING_FILE = "slicing.json"


def write_result(folder: Path, result: Mapping) -> Path:
    """Write `result`, the `slicing` and how it was found, to slicing.json."""
    file = folder / SLICING_FILE
    with replacing(file) as unfinished:
        unfinished.write_text(json.dumps(result, indent=1))
    return file


def read_result(folder: Path) -> dict | None:
    """The result in `folder`; None if there is none."""
    try:
        result = json.loads((folder / SLICING_FILE).read_text())
        return result if {"slicing", "fitness"} <= result.keys() else None
    except (FileNotFoundError, json.JSONDecodeError, AttributeError):
        return None


def read_slicing(file: Path, blocks: int) -> tuple[tuple[int, int], ...]:
    """The slicing in `file`, (h, w) for each of `blocks` blocks.

    Raises:
        ValueError: the file has no such slicing.
    """
    try:
        slicing = tuple((height, width) for height, width in json.loads(file.read_text())["slicing"])
    except (KeyError, TypeError, ValueError) as error:  # ValueError: no JSON, or no pairs
        raise ValueError(
            f"{file}: wanted JSON with 'slicing', a pair [h, w] per block; run the search again"
        ) from error
    if len(slicing) != blocks:
        raise ValueError(
            f"{file}: got a slicing for {len(slicing)} blocks, wanted {blocks}: it is for a network of another size. "
            "Search with the plans that you train with"
        )
    return slicing
