"""Whether the masks of a folder hold one class or several, told by their values."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from nnunet_mamba.dataset_conversion.formats.images import open_image

MAX_INDEX = 31  # values up to this are class indices, not shades
MAX_SHADES = 8  # up to this many shades over all masks may stand for classes
MAX_TINT = 32  # between the channels of a grey JPEG
LOSSY = (".jpg", ".jpeg")
SQUARE = np.ones((3, 3), bool)


@dataclass(frozen=True)
class MaskFacts:
    """The values of a mask, the values that fill a 3x3 square somewhere, and whether the file is lossy."""

    values: frozenset[int]
    solid: frozenset[int]
    lossy: bool


def look_at(path: Path) -> MaskFacts:
    """Measure a mask. One that is unreadable or in several colours has no values; the verification names it."""
    try:
        mask = read_values(path)
    except ValueError:
        return MaskFacts(frozenset(), frozenset(), False)
    lossy = path.suffix.lower() in LOSSY
    values = frozenset(np.unique(mask).tolist())
    if lossy or len(values) > MAX_SHADES + 1:  # its shades cannot be classes
        return MaskFacts(values, frozenset(), lossy)
    return MaskFacts(
        values, frozenset(value for value in values if ndimage.binary_erosion(mask == value, SQUARE).any()), lossy
    )


def read_values(path: Path) -> np.ndarray:
    """A mask as (H, W) uint8: 1-bit as 0 and 1, palette indices, or shades of grey or of one colour.

    Raises:
        ValueError: unreadable file, or several colours.
    """
    image = open_image(path)
    if image.mode in ("1", "L", "P"):
        return np.asarray(image).astype(np.uint8)
    channels = np.asarray(image.convert("RGB"))
    brightest = channels.max(axis=2)
    tint = (brightest - channels.min(axis=2)).max()
    if tint > MAX_TINT and len(np.unique(channels[brightest > 0], axis=0)) > 1:
        raise ValueError(
            f"{path}: a mask in several colours; expected one channel, black and white or one value per class"
        )
    return brightest


def decide_classes(facts: Sequence[MaskFacts]) -> tuple[int, ...]:
    """The values that stand for classes, in order, if there are at least two. Empty: one class, see `read_binary_mask`.

    There are several classes in two cases:
    - at least two values besides 0, none above 31: class indices;
    - 2 to 8 shades besides 0 over all masks, two of them in one mask, and each fills a 3x3 square somewhere. The shades
      of an anti-aliased outline do not.
    JPEG masks are one class, because their shades are noise.
    """
    values = frozenset[int]().union(*(mask.values for mask in facts)) - {0}
    if len(values) < 2 or any(mask.lossy for mask in facts):
        return ()
    if max(values) <= MAX_INDEX:
        return tuple(sorted(values))
    solid = frozenset[int]().union(*(mask.solid for mask in facts))
    together = any(len(mask.values - {0}) > 1 for mask in facts)
    return tuple(sorted(values)) if len(values) <= MAX_SHADES and values <= solid and together else ()
