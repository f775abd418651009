"""Masks of single objects joined into one label map, with a class between objects that touch."""

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

NUCLEUS, BORDER = 1, 2
SQUARE = np.ones((3, 3), bool)


def join_nuclei(nuclei: Iterable[np.ndarray], size: tuple[int, ...], border: bool) -> np.ndarray:
    """Labels (H, W) uint8: 1 where any nucleus is; with `border`, 2 where two nuclei are within a pixel.

    A pixel is border if the 3x3 square around it meets two nuclei. These are the rims of nuclei that touch, the line
    between nuclei that are one pixel apart, and the pixels that two masks share.

    Args:
        nuclei: masks (H, W) uint8 of 0 and 1; only one is in memory at a time.
    """
    labels = np.zeros(size, np.uint8)
    near = np.zeros(size, np.uint16)  # how many nuclei are within a pixel
    for mask in nuclei:
        labels |= mask
        if border:
            for rows, columns in ndimage.find_objects(mask):
                box = _grown(rows), _grown(columns)
                near[box] += ndimage.binary_dilation(mask[box], SQUARE)
    labels[near > 1] = BORDER
    return labels


def _grown(part: slice) -> slice:
    return slice(max(part.start - 1, 0), part.stop + 1)
