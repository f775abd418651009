"""Masks of single objects joined into one label map, with a class between those that touch."""

from collections.abc import Iterable

import numpy as np

NUCLEUS, BORDER = 1, 2


def join_nuclei(nuclei: Iterable[np.ndarray], size: tuple[int, int], border: bool) -> np.ndarray:
    """Labels (H, W) uint8: 1 where any nucleus is; with `border`, 2 where two are within a pixel.

    A pixel is border if the 3x3 square around it meets two nuclei: the rims of nuclei that touch, the line between nuclei that
    one pixel parts, and what two masks share.

    Args:
        nuclei: masks (H, W) of 0 and 1, of which one is held at a time.
    """
    labels = np.zeros(size, np.uint8)
    near = np.zeros(size, np.uint16)
    for mask in nuclei:
        labels |= mask
        if border:
            _add_grown(near, mask)
    if border:
        labels[near > 1] = BORDER
    return labels


def _add_grown(near: np.ndarray, mask: np.ndarray) -> None:
    """Add one to `near` within a pixel of the mask; only its bounding box is looked at, for speed."""
    inside = mask.view(bool)
    rows = np.flatnonzero(inside.any(axis=1))
    if not len(rows):
        return
    columns = np.flatnonzero(inside[rows[0] : rows[-1] + 1].any(axis=0))
    top, left = max(rows[0] - 1, 0), max(columns[0] - 1, 0)
    box = slice(top, rows[-1] + 2), slice(left, columns[-1] + 2)
    grown = inside[box]
    for axis in (0, 1):
        grown = np.moveaxis(grown, axis, 0)
        wide = grown.copy()
        wide[1:] |= grown[:-1]
        wide[:-1] |= grown[1:]
        grown = np.moveaxis(wide, 0, axis)
    near[box] += grown
