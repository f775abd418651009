"""Volumes with spacing, origin and direction: checks, in-plane cropping and resampling, reproducible NIfTI files."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_mamba.dataset_conversion.formats.images import centre_margins, resample_image, resample_labels

TOLERANCE = 1e-3  # of mm and cosines; a NIfTI header (32-bit) loses less


def check_geometry(image: sitk.Image, labels: sitk.Image) -> str | None:
    """How the two differ in size, spacing, origin or direction. None: they do not."""
    for name in ("Size", "Spacing", "Origin", "Direction"):
        of_image, of_labels = (np.array(getattr(volume, f"Get{name}")()) for volume in (image, labels))
        if of_image.shape != of_labels.shape or np.abs(of_image - of_labels).max() > TOLERANCE:
            return f"the mask has {name.lower()} {_words(of_labels)} (x, y, z), its image {_words(of_image)}"
    return None


def read_nifti(path: Path, or_slice: bool = False) -> sitk.Image:
    """A volume with three axes and one channel. With `or_slice` an image of two axes becomes a volume of one slice.

    Raises:
        ValueError: truncated or unreadable file, or another number of axes or channels.
    """
    try:
        check_gzip(path)
        volume = sitk.ReadImage(str(path))
    except (RuntimeError, OSError, EOFError, zlib.error) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path}: cannot be read as NIfTI ({reason}); fetch this file again") from error
    if or_slice and volume.GetDimension() == 2:
        volume = sitk.JoinSeries(volume)
    if volume.GetDimension() != 3 or volume.GetNumberOfComponentsPerPixel() != 1:
        raise ValueError(f"{path}: expected a volume of one channel, got {volume.GetDimension()} axes")
    return volume


def check_gzip(path: Path) -> None:
    """Read a .gz to its end: SimpleITK silently fills the missing part of a truncated file with zeros.

    Raises:
        EOFError, OSError, zlib.error: the file is truncated or broken.
    """
    if path.suffix == ".gz":
        with gzip.open(path) as packed:
            while packed.read(2**24):
                pass


def fit(volume: sitk.Image, size: tuple[int, int], crop: bool, labels: bool) -> sitk.Image:
    """Every slice at `size` = (H, W), cut out of the middle or resampled. Spacing and origin are adjusted."""
    height, width = size
    columns, rows = centre_margins(volume.GetWidth(), width), centre_margins(volume.GetHeight(), height)
    if crop:
        before, after = ([columns[i], rows[i], 0] for i in (0, 1))
        padded = sitk.ConstantPad(volume, *([max(margin, 0) for margin in margins] for margins in (before, after)), 0)
        return sitk.Crop(padded, *([max(-margin, 0) for margin in margins] for margins in (before, after)))
    resample = resample_labels if labels else resample_image
    fitted = sitk.GetImageFromArray(np.stack([resample(plane, size) for plane in sitk.GetArrayFromImage(volume)]))
    factors = volume.GetWidth() / width, volume.GetHeight() / height, 1
    fitted.SetSpacing([old * factor for old, factor in zip(volume.GetSpacing(), factors, strict=True)])
    fitted.SetDirection(volume.GetDirection())
    fitted.SetOrigin(volume.TransformContinuousIndexToPhysicalPoint([factor / 2 - 0.5 for factor in factors]))
    return fitted


def write_nifti(path: Path, volume: sitk.Image) -> None:
    """Write .nii.gz without metadata; the gzip header holds no time and no name, so equal volumes give equal bytes."""
    plain = path.with_suffix("")
    bare = sitk.Image(volume)
    for key in bare.GetMetaDataKeys():
        bare.EraseMetaData(key)
    sitk.WriteImage(bare, str(plain))
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
        packed.write(plain.read_bytes())
    plain.unlink()


def _words(values: np.ndarray) -> str:
    return " ".join(f"{value:g}" for value in values)
