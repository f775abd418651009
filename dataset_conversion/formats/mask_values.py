"""The values of a mask, whatever its kind: shades, indices, 16 bits, whole floats, volumes, or colours as 0xRRGGBB."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.formats.folders import NIFTI_ENDINGS
from nnunet_mamba.dataset_conversion.formats.pixels import COLOUR, read_pixels
from nnunet_mamba.dataset_conversion.formats.soft_masks import Edges, measure_edges

LOSSY = (".jpg", ".jpeg")
MAX_TINT = 32  # between the channels of a grey JPEG
FEW = 32  # a file with more values is a mask if most of its pixels equal their neighbours
GREY_CODE = 0x010101  # times a shade: its colour


@dataclass(frozen=True)
class MaskFacts:
    """What the values of a mask tell.

    Args:
        counts: the number of pixels of each value; empty if the file is broken, which the verification tells.
        colours: the values are colours, 0xRRGGBB.
        edges: of a lossy mask, or one of shades.
    """

    path: Path
    counts: Mapping[int, int]
    colours: bool = False
    lossy: bool = False
    edges: Edges | None = None


def look_at(path: Path, as_colours: bool = False) -> MaskFacts:
    """Measure a mask. With `as_colours` shades and palettes count as colours, too."""
    try:
        mask, colours = read_values(path, as_colours)
    except ValueError:
        return MaskFacts(path, {})
    values, counts = np.unique(mask, return_counts=True)
    lossy = is_lossy(path)
    shades = not colours and mask.ndim == 2 and values[0] >= 0 and 191 < values[-1] < 256 and len(values) > 2
    edges = measure_edges(mask, lossy) if not colours and (lossy or shades) else None
    return MaskFacts(path, dict(zip(values.tolist(), counts.tolist(), strict=True)), colours, lossy, edges)


def is_lossy(path: Path) -> bool:
    """Whether the file's compression changes values."""
    return path.suffix.lower() in LOSSY


def read_values(path: Path, as_colours: bool = False) -> tuple[np.ndarray, bool]:
    """The values (H, W) or (D, H, W), int32, and whether they are colours. 1 bit is 0 and 255, a palette its indices.

    Raises:
        ValueError: unreadable file, fractions, several channels that are no colours, or a photograph.
    """
    if path.name.lower().endswith(NIFTI_ENDINGS):
        import SimpleITK as sitk

        from nnunet_mamba.dataset_conversion.formats.volumes import read_nifti

        return _whole(sitk.GetArrayFromImage(read_nifti(path, or_slice=True)), path), False
    pixels, kind = read_pixels(path, indices=not as_colours)
    colours = kind.channels == COLOUR
    if pixels.ndim == 3 and not colours or colours and kind.dtype != "uint8":
        raise ValueError(f"{path}: expected a mask of one channel or of 8-bit colours, got {kind}, {pixels.dtype}")
    values = _whole(pixels, path)
    if colours and not as_colours:
        brightest = values.max(axis=2)
        tint = (brightest - values.min(axis=2)).max()
        colours = bool(tint > (MAX_TINT if is_lossy(path) else 0))
        values = values if colours else brightest
    if colours:
        values = values[..., 0] << 16 | values[..., 1] << 8 | values[..., 2]
    elif as_colours:
        if values.max() > 255:
            raise ValueError(f"{path}: the value {values.max()} is no shade of 8 bits, so it has no colour")
        values = values * GREY_CODE
    even = np.mean(values[:, 1:] == values[:, :-1]) if values.shape[1] > 1 else 1
    if not is_lossy(path) and even < 0.5 and len(np.unique(values)) > FEW:
        raise ValueError(f"{path}: not a mask, {1 - even:.0%} of its pixels differ from their neighbours")
    return values, colours


def _whole(values: np.ndarray, path: Path) -> np.ndarray:
    """As int32."""
    if values.dtype.kind == "f" and not np.all(np.isfinite(values) & (values == np.round(values))):
        wrong = values[~np.isfinite(values) | (values != np.round(values))]
        raise ValueError(f"{path}: a mask with fractions, such as {wrong[0]:g}; expected a whole number per class")
    limits = np.iinfo(np.int32)
    if values.min() < limits.min or values.max() > limits.max:
        raise ValueError(f"{path}: a mask with the value {values.max()}; expected numbers of up to 31 bits")
    return values.astype(np.int32)
