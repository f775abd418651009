"""Single-slice DICOM files. SimpleITK honours rescale slope and intercept, 16 bits, spacing and orientation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

INSTANCE_NUMBER = "0020|0013"
CARDIAC_NUMBER_OF_IMAGES = "0018|1090"
SPACING_BETWEEN_SLICES, SLICE_THICKNESS = "0018|0088", "0018|0050"
EVEN = 0.1  # share of the slice distance that a slice of an even stack may be off
_INTEGERS = (sitk.sitkUInt8, sitk.sitkInt8, sitk.sitkUInt16, sitk.sitkInt16, sitk.sitkUInt32, sitk.sitkInt32)


@dataclass(frozen=True)
class Header:
    """A slice's number in its series, position along its normal (mm), and images per heart beat (None: not given)."""

    number: int
    position: float
    images_per_beat: int | None


def read_header(path: Path) -> Header:
    """The header of a file; the pixels are not read.

    Raises:
        ValueError: not a readable DICOM file, or one without an InstanceNumber.
    """
    reader = _reader(path)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path) from error
    number = _integer(reader, INSTANCE_NUMBER)
    if number is None:
        raise ValueError(f"{path}: no InstanceNumber (0020,0013), by which contours name their image")
    normal = np.array(reader.GetDirection()).reshape(3, -1)[:, 2]
    return Header(number, float(np.dot(reader.GetOrigin(), normal)), _integer(reader, CARDIAC_NUMBER_OF_IMAGES))


def read_slice(path: Path) -> sitk.Image:
    """One grey slice (1, H, W) with its position in the patient. Integers stay integers, other types become float32.

    Raises:
        ValueError: unreadable, several frames, or in colour.
    """
    reader = _reader(path)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _unreadable(path) from error
    if image.GetDimension() != 3 or image.GetDepth() != 1 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(
            f"{path}: expected one grey slice, got {image.GetSize()} pixels of {image.GetPixelIDTypeAsString()}"
        )
    thickness = _number(reader, SLICE_THICKNESS)
    if thickness and not _number(reader, SPACING_BETWEEN_SLICES):  # GDCM would say 1 mm
        image.SetSpacing((*image.GetSpacing()[:2], thickness))
    return image if image.GetPixelID() in _INTEGERS else sitk.Cast(image, sitk.sitkFloat32)


def stack(paths: Sequence[Path]) -> sitk.Image:
    """Slices, ordered by position, as one (D, H, W) volume with their true distance.

    Raises:
        ValueError: a slice is unreadable or has another size, spacing or direction, or the slices are not evenly
            spaced. The message names the file.
    """
    slices = [read_slice(path) for path in paths]
    first = slices[0]
    if len(slices) == 1:
        return first
    for path, image in zip(paths, slices, strict=True):
        for name in ("Size", "Spacing", "Direction"):
            got, wanted = (getattr(one, f"Get{name}")() for one in (image, first))
            if not np.allclose(got, wanted, atol=1e-3):
                raise ValueError(
                    f"{path}: {name.lower()} {got} (x, y, z), {paths[0].name} has {wanted}; try --as slices"
                )
    origins = np.array([image.GetOrigin() for image in slices])
    normal = np.array(first.GetDirection()).reshape(3, 3)[:, 2]
    step = (origins[-1] - origins[0]) @ normal / (len(slices) - 1)
    away = np.linalg.norm(origins - origins[0] - np.outer(np.arange(len(slices)) * step, normal), axis=1)
    if step <= 0 or away.max() > max(EVEN * step, max(first.GetSpacing()[:2])):
        worst = paths[int(away.argmax())]
        raise ValueError(f"{worst}: {away.max():.1f} mm off an even stack of {step:.1f} mm per slice; try --as slices")
    pixels = np.concatenate([sitk.GetArrayFromImage(image) for image in slices])
    volume = sitk.GetImageFromArray(pixels)
    volume.SetSpacing((*first.GetSpacing()[:2], float(step)))
    volume.SetOrigin(first.GetOrigin())
    volume.SetDirection(first.GetDirection())
    return volume


def _reader(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return reader


def _integer(reader: sitk.ImageFileReader, tag: str) -> int | None:
    number = _number(reader, tag)
    return None if number is None else int(number)


def _number(reader: sitk.ImageFileReader, tag: str) -> float | None:
    """None if the header does not give one."""
    try:
        number = float(reader.GetMetaData(tag)) if reader.HasMetaDataKey(tag) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _unreadable(path: Path) -> ValueError:
    return ValueError(f"{path}: cannot be read as a DICOM image; fetch this file again")
