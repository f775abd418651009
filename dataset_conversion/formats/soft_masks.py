"""Whether masks are black and white with soft edges, as JPEG and resampling make them, or have more levels.

A grey pixel of a soft edge has black and white within two pixels. A level of its own fills areas, or lines of nearly
one grey. Outlines of one pixel in a JPEG of low quality look like a soft edge, and are taken for one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

DARK, BRIGHT = 64, 191  # grey is from the one to the other
NOISE_REACH = {True: 20, False: 8}  # pixels that noise of a lossy file, or a wide edge of another, spreads
EDGE_REACH = 2
# Shares of the grey pixels. In masks of lesions and nuclei as JPEG of quality 10 to 95, resampled by 0.25 to 4, they
# were at most 0.06 and 0.48. With a third level, in areas or as outlines, one of them was at least 0.17 or 0.61.
MAX_STRAY, MAX_PEAK = 0.1, 0.55
PEAK_WIDTH = 17
EVEN, OFF_WHITE = 6, 16  # no mask of those had a square of a third level by this measure
ENOUGH = 50  # grey pixels for a share to mean something
SQUARE = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Edges:
    """The grey of a mask: the pixels of each value, those that are at no edge, and whether such fill a square."""

    greys: np.ndarray
    stray: int
    filled: bool
    bright: bool


def measure_edges(mask: np.ndarray, lossy: bool) -> Edges:
    """The edges of a mask (H, W) of 0 to 255."""
    dark, bright = mask < DARK, mask > BRIGHT
    grey = ~dark & ~bright
    no_edge = grey & ~(_near(dark, EDGE_REACH) & _near(bright, EDGE_REACH))
    reach = NOISE_REACH[lossy]
    nearly_black = dark & (mask > 0) & ~_near(~dark, reach)
    nearly_white = bright & (mask < 255) & ~_near(~bright, reach)
    filled = ndimage.binary_erosion(no_edge | nearly_black | nearly_white, SQUARE).any() or _has_plateau(mask)
    return Edges(np.bincount(mask[grey], minlength=256), int(no_edge.sum()), bool(filled), bool(bright.any()))


def are_black_and_white(masks: Iterable[Edges]) -> bool:
    """Whether all masks together have two levels, black and white, and soft edges between them."""
    edges = list(masks)
    if any(mask.filled for mask in edges) or not any(mask.bright for mask in edges):
        return False
    greys = np.sum([mask.greys for mask in edges], axis=0)
    total = greys.sum()
    if total < ENOUGH:
        return True
    peak = np.convolve(greys, np.ones(PEAK_WIDTH), "valid").max()
    return bool(sum(mask.stray for mask in edges) <= MAX_STRAY * total and peak <= MAX_PEAK * total)


def _has_plateau(mask: np.ndarray) -> bool:
    """Whether nine pixels in a square have nearly one value that is neither black nor white; noise is never so even."""
    even = ndimage.maximum_filter(mask, 3) - ndimage.minimum_filter(mask, 3) <= EVEN
    return bool((even & (mask >= OFF_WHITE) & (mask <= 255 - OFF_WHITE)).any())


def _near(pixels: np.ndarray, reach: int) -> np.ndarray:
    return ndimage.maximum_filter(pixels, 2 * reach + 1, mode="constant")
