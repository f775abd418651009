"""The largest patch, then the largest batch, that fit into a budget: nnU-Net's way, with any estimate of memory."""

from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np

STRIDE = 32  # our networks pad to multiples of it, so anything else would cost the same and see less
MIN_BATCH = 2
LARGEST = 2048  # pixels: patches begin with at most LARGEST**2, as nnU-Net's do


def patches_to_try(median_shape: Sequence[float], spacing: Sequence[float]) -> list[tuple[int, int]]:
    """From the size of the median image down to 32 x 32; each patch is 32 pixels shorter along one axis than the last.

    Multiples of 32, so up to 31 pixels larger than the median image. The axis that is shortened is the one that is
    longest relative to the image, as in nnU-Net.

    Args:
        median_shape: (H, W) of the images at `spacing`, in pixels.
        spacing: (H, W) of a pixel, in any unit.
    """
    aspect = 1 / np.array(spacing, dtype=float)
    largest = aspect * np.sqrt(LARGEST**2 / aspect.prod())
    patch = [max(1, -(-int(min(round(a), b)) // STRIDE)) for a, b in zip(largest, np.ceil(median_shape))]
    patches = [tuple(patch)]
    while max(patch) > 1:
        share = [length / median if length > 1 else 0 for length, median in zip(patch, median_shape)]
        patch[int(np.argsort(share, kind="stable")[-1])] -= 1
        patches.append(tuple(patch))
    return [(height * STRIDE, width * STRIDE) for height, width in patches]


def choose(
    patches: Sequence[tuple[int, int]],
    most_pixels: float,
    budget: float,
    estimate: Callable[[tuple[int, int], int], float],
) -> tuple[tuple[int, int], int]:
    """The first of `patches`, which shrink, that fits with a batch of two; and the largest batch that fits with it.

    Args:
        most_pixels: pixels in a batch, at most, but always two patches.
        budget: what `estimate(patch, batch_size)` must not exceed, bytes.
    Raises:
        ValueError: not even the smallest patch fits.
    """

    def fits(patch: tuple[int, int]) -> bool:
        return estimate(patch, MIN_BATCH) <= budget

    first = 0 if fits(patches[0]) else bisect_left(patches, True, lo=1, key=fits)  # most images fit whole
    if first == len(patches):
        height, width = patches[-1]
        least = estimate(patches[-1], MIN_BATCH)
        raise NothingFits(f"the smallest patch, {height}x{width}, with a batch of {MIN_BATCH}", least)
    patch = patches[first]
    most = max(MIN_BATCH, round(most_pixels / (patch[0] * patch[1])))
    return patch, _largest_batch(most, lambda batch: estimate(patch, batch) - budget)


def most_estimates(patches: Sequence[tuple[int, int]]) -> int:
    """About how many estimates `choose` asks for at most: a bisection of the patches, then a few batches."""
    return 1 + len(patches).bit_length() + 6


class NothingFits(ValueError):
    """`what` does not fit; it needs `needed` bytes."""

    def __init__(self, what: str, needed: float):
        super().__init__(f"{what} needs {needed:.0f} bytes")
        self.what, self.needed = what, needed


def _largest_batch(most: int, excess: Callable[[int], float]) -> int:
    """The largest batch in MIN_BATCH..most without excess; MIN_BATCH has none.

    Guesses on the line between two known batches, because memory is nearly linear in the batch.
    """
    low, high = MIN_BATCH, min(most, 4 * MIN_BATCH)
    while excess(high) <= 0:
        if high == most:
            return most
        low, high = high, min(most, 4 * high)
    while high - low > 1:
        below, above = excess(low), excess(high)
        guess = low + int((high - low) * -below / (above - below))
        guess = min(max(guess, low + 1), high - 1)
        if excess(guess) <= 0:
            low = guess
        else:
            high = guess
    return low
