"""What the page draws of a prediction: one slice of the image, and label maps of that slice at the same size."""

import base64
import io
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from nnunet_mamba.evaluation import as_8_bit

JPEG_QUALITY = 80
GREY = 128  # where there is no image


def slicing_axis(spacing: Sequence[float]) -> int:
    """The axis to look along: the coarsest, the first one of equal ones."""
    return int(np.argmax(spacing))


def worst_slice(truth: np.ndarray, prediction: np.ndarray, ignored: np.ndarray | None, axis: int) -> int:
    """Index along `axis` of the slice with most wrong pixels; without any, of the one with most truth."""
    wrong = truth != prediction if ignored is None else (truth != prediction) & ~ignored
    others = tuple(i for i in range(3) if i != axis)
    counts = np.count_nonzero(wrong, axis=others)
    return int(np.argmax(counts if counts.any() else np.count_nonzero(truth, axis=others)))


def picture_size(shape: Sequence[int], spacing: Sequence[float], side: int) -> tuple[int, int]:
    """(H, W) with square pixels, at most `side` long, for a slice of `shape` with `spacing`."""
    finest = min(spacing)
    height, width = (length * space / finest for length, space in zip(shape, spacing, strict=True))
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def jpeg(image: np.ndarray | None, size: tuple[int, int]) -> str:
    """A slice, (H, W) of any number type or (H, W, 3) uint8, as base64 of a JPEG of `size` (H, W)."""
    pixels = np.full(size, GREY, np.uint8) if image is None else as_8_bit(image)
    picture = Image.fromarray(pixels).resize(size[::-1], Image.Resampling.LANCZOS)
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(written.getvalue()).decode()


def packed(labels: np.ndarray, numbers: dict[int, int], size: tuple[int, int]) -> str:
    """A slice of labels at `size` as base64 of zlib of one byte per pixel: `numbers[label]`, else 0."""
    height, width = labels.shape
    rows, columns = (((2 * np.arange(new) + 1) * old) // (2 * new) for new, old in zip(size, (height, width)))
    small = labels[rows[:, None], columns[None, :]]
    coded = np.zeros(small.shape, np.uint8)
    for label, number in numbers.items():
        coded[small == label] = number
    return base64.b64encode(zlib.compress(coded.tobytes(), 9)).decode()
