"""Images of any depth and any number of channels as they are stored: nothing is scaled, or dropped silently."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

TIFF = (".tif", ".tiff")
GREY, COLOUR = ("grey",), ("R", "G", "B")
_PLAIN = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B", "I", "F")  # Pillow's modes that lose nothing
_PAGES = "CQI"  # tifffile's axes of pages that can be channels: named so, unknown, or saved one by one
_ALPHA = (1, 2)  # TIFF's ExtraSamples


class Kind(NamedTuple):
    """The channels of an image by name, and the type that holds its values: uint8, uint16, float32; or NIfTI."""

    channels: tuple[str, ...]
    dtype: str

    def __str__(self) -> str:
        names = {GREY: "grey", COLOUR: "RGB"}
        return self.dtype if self.dtype == "NIfTI" else names.get(self.channels, f"{len(self.channels)} channels")


def read_pixels(path: Path, indices: bool = False) -> tuple[np.ndarray, Kind]:
    """(H, W) or (H, W, C) in the file's own type, and its kind.

    A palette gives colours, or with `indices` its indices. 1 bit gives 0 and 255. Alpha is left out if it is the same
    everywhere. A TIFF of several pages has a channel per page.

    Raises:
        ValueError: truncated or unreadable file, slices of a volume, or alpha that varies.
    """
    try:
        plain = _read_plain(path, indices)
        pixels, colour, alpha = plain if plain is not None else _read_deep(path)
    except NotOneImage as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # broken files: Pillow, tifffile and SimpleITK raise many types
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise ValueError(f"{path}: cannot be read as an image ({reason[0]}); fetch this file again") from error
    if alpha:
        if pixels[..., -1].min() < pixels[..., -1].max():
            raise ValueError(
                f"{path}: its transparency (alpha) varies; save it without, or as pages if it is a channel of its own"
            )
        pixels = pixels[..., :-1]
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype.kind not in "buif":
        raise ValueError(f"{path}: expected whole or real numbers, got {pixels.dtype}")
    return pixels, Kind(_names(pixels, colour), _holder(pixels.dtype))


class NotOneImage(Exception):
    """A file that is read, but is not one image."""


def _read_plain(path: Path, indices: bool) -> tuple[np.ndarray, bool, bool] | None:
    """By Pillow: pixels, whether they are colours, whether the last channel is alpha. None: Pillow would lose some."""
    try:
        image: Image.Image = Image.open(path)
    except Image.UnidentifiedImageError:
        if path.suffix.lower() in TIFF:
            return None
        raise
    with image:
        tile = getattr(image, "tile", None)
        raw = tile[0].args if tile else ""
        raw = raw if isinstance(raw, str) else str(raw[0]) if isinstance(raw, tuple) and raw else ""
        reduced = ";16" in raw and not image.mode.startswith(("I", "F"))
        tiff = path.suffix.lower() in TIFF
        if reduced or tiff and (getattr(image, "n_frames", 1) > 1 or image.mode == "I" or image.mode not in _PLAIN):
            return None
        image.load()
        if image.mode not in _PLAIN:
            raise NotOneImage(f"expected grey or RGB, got Pillow mode {image.mode!r}")
        if image.mode == "P" and not indices:
            image = image.convert("RGBA" if "transparency" in image.info else "RGB")
        elif image.mode == "1":
            image = image.convert("L")
        pixels = np.asarray(image, np.uint16 if image.mode == "I" else None)  # older Pillow's mode for 16-bit PNG
        return pixels, image.mode in ("RGB", "RGBA"), image.mode in ("LA", "RGBA")


def _read_deep(path: Path) -> tuple[np.ndarray, bool, bool]:
    """As `_read_plain`: TIFF with its pages and planes, or PNG with colours of 16 bits."""
    if path.suffix.lower() not in TIFF:
        import SimpleITK as sitk

        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        return pixels, pixels.shape[-1] in (3, 4), pixels.shape[-1] in (2, 4)
    import tifffile

    with tifffile.TiffFile(path) as file:
        if len(file.series) != 1:
            raise NotOneImage(f"holds {len(file.series)} images of different kinds; expected one")
        series, page = file.series[0], file.series[0].keyframe
        axes, pixels = series.axes, series.asarray()
    if axes[:1] in tuple(_PAGES) and axes[1:] == "YX" or axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    elif axes not in ("YX", "YXS"):
        raise NotOneImage(f"a TIFF with the axes {axes}; expected one image with its channels. Save volumes as NIfTI")
    colour = page.photometric == 2 and axes[:1] not in tuple(_PAGES)
    return pixels, colour, "S" in axes and any(int(extra) in _ALPHA for extra in page.extrasamples[-1:])


def _names(pixels: np.ndarray, colour: bool) -> tuple[str, ...]:
    if pixels.ndim == 2:
        return GREY
    if colour and pixels.shape[2] == 3:
        return COLOUR
    return tuple(f"channel_{i}" for i in range(pixels.shape[2]))


def _holder(dtype: np.dtype) -> str:
    if dtype.kind == "b" or dtype == np.uint8:
        return "uint8"
    return "uint16" if dtype.kind == "u" and dtype.itemsize == 2 else "float32"  # nnU-Net reads all as float32
