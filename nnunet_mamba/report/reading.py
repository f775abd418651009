"""Reads label maps and images of any usual format, with their spacing."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from nnunet_mamba.messages import first_line

PICTURES = (".png", ".bmp", ".jpg", ".jpeg", ".gif", ".webp")
VOLUMES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".tif", ".tiff")
ENDINGS = (*VOLUMES, *PICTURES)


class Pixels(NamedTuple):
    """(Z, Y, X) labels or grey values, or (Z, Y, X, 3) uint8 colours; Z is 1 in a 2-D image.

    `spacing` is (z, y, x) in mm; None where the file does not say.
    """

    values: np.ndarray
    spacing: tuple[float, float, float] | None


def ending_of(file: Path) -> str:
    """The file's ending if it is that of an image, else ''."""
    return next((ending for ending in ENDINGS if file.name.lower().endswith(ending)), "")


def stem_of(file: Path) -> str:
    """The file's name without its ending."""
    return file.name[: -len(ending_of(file))]


def read_labels(file: Path, known: frozenset[int] | None) -> Pixels:
    """A label map, (Z, Y, X) of integers.

    Args:
        known: the values that it may hold; None: any.
    Raises:
        ValueError: it cannot be read, is not made of whole numbers from 0, or holds other values than `known`.
    """
    values, spacing = _read(file)
    if values.ndim == 4:
        if (values[..., :1] != values).any():
            raise ValueError(f"{file.name}: a colour image, wanted labels: one whole number per pixel")
        values = values[..., 0]
    whole = values.astype(np.int32)
    if not np.issubdtype(values.dtype, np.integer) and not np.array_equal(whole, values):
        raise ValueError(f"{file.name}: holds fractions or NaN, wanted labels: whole numbers")
    if known is not None:
        others = sorted(set(values_of(whole)) - known)
        if others:
            got, wanted = (", ".join(map(str, sorted(part)[:6])) for part in (others, known))
            more = f" and {len(others) - 6} others" if len(others) > 6 else ""
            raise ValueError(f"{file.name}: holds the values {got}{more}, wanted only {wanted}")
    return Pixels(whole, spacing)


def values_of(labels: np.ndarray) -> list[int]:
    """The values in a label map."""
    if labels.min() >= 0 and labels.max() < 2**16:
        return np.flatnonzero(np.bincount(labels.ravel())).tolist()
    return np.unique(labels).tolist()


def read_image(file: Path) -> Pixels:
    """An image to show: (Z, Y, X, 3) uint8 if it has colours, else (Z, Y, X) grey values.

    Raises:
        ValueError: it cannot be read.
    """
    return _read(file)


def _read(file: Path) -> Pixels:
    try:
        return _read_picture(file) if ending_of(file) in PICTURES else _read_volume(file)
    except Exception as error:  # broken files raise OSError, SyntaxError, RuntimeError, struct.error, ...
        raise ValueError(f"{file.name}: cannot be read ({first_line(error).replace(str(file), file.name)})") from error


def _read_picture(file: Path) -> Pixels:
    with Image.open(file) as image:
        image.load()
    if image.mode in ("RGBA", "LA", "CMYK", "YCbCr"):
        image = image.convert("RGB" if image.mode != "LA" else "L")
    return Pixels(np.asarray(image)[None], None)  # of a palette its indices: they are the labels


def _read_volume(file: Path) -> Pixels:
    import SimpleITK

    from nnunet_mamba.dataset_conversion.formats.volumes import check_gzip

    check_gzip(file)
    image = SimpleITK.ReadImage(str(file))
    values, spacing = SimpleITK.GetArrayFromImage(image), tuple(float(x) for x in image.GetSpacing()[::-1])
    if image.GetDimension() == 2:
        values, spacing = values[None], (1.0, *spacing)
    if image.GetDimension() not in (2, 3) or values.ndim == 4 and values.shape[3] not in (3, 4):
        raise ValueError(f"got {image.GetDimension()} axes and the shape {values.shape}, wanted 2 or 3 axes")
    if values.ndim == 4:
        values = values[..., :3]
    is_tif = ending_of(file) in (".tif", ".tiff")  # their resolution is that of a printer
    return Pixels(values, None if is_tif else (spacing[0], spacing[1], spacing[2]))
