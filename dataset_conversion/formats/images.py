"""Images and masks as arrays: read with checks, resample, crop, write as reproducible PNG."""

from pathlib import Path

import numpy as np
from PIL import Image

THRESHOLD = 127
GREY = (64, 191)  # a mask's pixel between these is neither class
MAX_GREY_SHARE = 0.1  # anti-aliased and JPEG outlines stay well below, photographs do not

_RGB_MODES = ("RGB", "RGBA", "L", "LA", "P", "1")
_DEEP_MODES = ("I;16", "I;16B", "I")  # Pillow's modes for one channel of 16 bits


def open_image(path: Path, modes: tuple[str, ...] = _RGB_MODES) -> Image.Image:
    """A decoded image in one of Pillow's `modes`; by default these are the 8-bit modes.

    Raises:
        ValueError: truncated or unreadable file, or another mode.
    """
    try:
        with Image.open(path) as image:
            image.load()
    except Exception as error:  # broken files: Pillow raises OSError, SyntaxError, ValueError, struct.error ...
        raise ValueError(f"{path}: cannot be read as an image ({error}); fetch this file again") from error
    if image.mode not in modes:
        raise ValueError(f"{path}: expected an 8-bit image, got Pillow mode {image.mode!r}")
    return image


def read_rgb(path: Path) -> np.ndarray:
    """An 8-bit image as (H, W, 3) uint8; grey is repeated, alpha dropped.

    Raises:
        ValueError: truncated or unreadable file, or more than 8 bits per channel.
    """
    return np.asarray(open_image(path).convert("RGB"))


def read_grey(path: Path) -> np.ndarray:
    """A grey image as (H, W) uint8, or uint16 if the file has 16 bits. A colour image becomes its luminance.

    nnU-Net's NaturalImage2DIO reads a 16-bit grey PNG with its full range.

    Raises:
        ValueError: truncated or unreadable file, or values beyond 16 bits.
    """
    image = open_image(path, (*_RGB_MODES, *_DEEP_MODES))
    if image.mode not in _DEEP_MODES:
        return np.asarray(image.convert("RGB").convert("L"))
    values = np.asarray(image)
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise ValueError(f"{path}: grey values from {values.min()} to {values.max()}; expected 0 to 65535")
    return values.astype(np.uint16)


def read_binary_mask(path: Path) -> np.ndarray:
    """A mask of any 8-bit or 1-bit kind as (H, W) uint8 of 0 and 1.

    If the mask holds 0 and one other value, the other value is foreground. Otherwise (JPEG, anti-aliased outlines)
    values above 127 are. In a colour mask the brightest channel counts.

    Raises:
        ValueError: unreadable file, or more than a tenth of the pixels are grey: not a mask.
    """
    image = open_image(path)
    values = np.asarray(image) if image.mode == "L" else np.asarray(image.convert("RGB")).max(axis=2)
    foreground = values > 0
    if not foreground.all() and np.array_equal(foreground, values == values.max()):
        return foreground.astype(np.uint8)
    grey = np.mean((values >= GREY[0]) & (values <= GREY[1]))
    if grey > MAX_GREY_SHARE:
        raise ValueError(f"{path}: not a mask, {grey:.0%} of its pixels are grey; expected black and white")
    return (values > THRESHOLD).astype(np.uint8)


def resample_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Image (H, W) or (H, W, C) at `size` = (H', W'); integers are rounded, floats stay floats.

    An axis that shrinks is averaged over areas, one that grows is interpolated linearly.
    """
    if image.shape[:2] == tuple(size):
        return image
    resampled = _resample_rows(image.astype(np.float64), size[0])
    resampled = _resample_rows(resampled.swapaxes(0, 1), size[1]).swapaxes(0, 1)
    if not np.issubdtype(image.dtype, np.integer):
        return resampled.astype(image.dtype)
    # Halves go up; 1e-6 keeps rounding errors from deciding.
    limits = np.iinfo(image.dtype)
    return np.clip(np.floor(resampled + 0.5 + 1e-6), limits.min, limits.max).astype(image.dtype)


def resample_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels (H, W) at `size` = (H', W'): each new pixel takes the class at its centre."""
    if labels.shape == tuple(size):
        return labels
    rows, columns = (((2 * np.arange(new) + 1) * old) // (2 * new) for old, new in zip(labels.shape, size, strict=True))
    return labels[rows[:, None], columns[None, :]]


def centre_crop(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The middle `size` = (H', W') of an image or of labels (H, W, ...), padded with zeros if it is smaller."""
    for axis, new in enumerate(size):
        before, after = centre_margins(pixels.shape[axis], new)
        pixels = np.pad(pixels, [(max(before, 0), max(after, 0)) if i == axis else (0, 0) for i in range(pixels.ndim)])
        first = max(-before, 0)
        pixels = pixels[(slice(None),) * axis + (slice(first, first + new),)]
    return pixels


def centre_margins(old: int, new: int) -> tuple[int, int]:
    """How many pixels to add before and after (negative: cut off), so that `old` become `new`, same middle."""
    before = -((old - new) // 2)
    return before, new - old - before


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write (H, W) uint8 or uint16, or (H, W, 3) uint8. Without metadata, so that equal pixels give equal bytes."""
    # level 6: a third of the speed, 3 % smaller
    Image.fromarray(pixels).save(path, format="PNG", optimize=False, compress_level=3)


def write_tiff(path: Path, pixels: np.ndarray) -> None:
    """Write (H, W) float32 or uint8, compressed without loss and without metadata."""
    Image.fromarray(pixels).save(path, format="TIFF", compression="tiff_adobe_deflate")


def _resample_rows(image: np.ndarray, new: int) -> np.ndarray:
    """(H, W) or (H, W, C) float -> (new, W) or (new, W, C)."""
    old = len(image)
    column = (-1,) + (1,) * (image.ndim - 1)
    if new <= old:
        # Row i is the mean over [i, i + 1] * old / new: a difference of the running sum, which is linear within a row.
        sums = np.concatenate([np.zeros_like(image[:1]), np.cumsum(image, axis=0)])
        edges = np.arange(new + 1) * old / new
        whole = np.minimum(edges.astype(int), old - 1)
        running = sums[whole] + (edges - whole).reshape(column) * image[whole]
        return np.diff(running, axis=0) * (new / old)
    centres = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    above = centres.astype(int)
    below = np.minimum(above + 1, old - 1)
    share = (centres - above).reshape(column)
    return (1 - share) * image[above] + share * image[below]
