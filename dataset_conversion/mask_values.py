"""What the masks of a folder mean, from the values they hold: one class, or several."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.images import open_image

MAX_INDEX = 31  # values up to this are indices of classes, not shades
MAX_SHADES = 8  # so few shades, over all masks, may stand for classes
MAX_TINT = 32  # between the channels of a grey JPEG
LOSSY = (".jpg", ".jpeg")


@dataclass(frozen=True)
class MaskFacts:
    """The values of a mask, 0 among them or not; those that fill a 3x3 square somewhere; and whether the file is lossy."""

    values: frozenset[int]
    solid: frozenset[int]
    lossy: bool


def look_at(path: Path) -> MaskFacts:
    """Measure a mask; one that cannot be read, or is in colour, has no values, and is named when its case is verified."""
    try:
        mask = read_values(path)
    except ValueError:
        return MaskFacts(frozenset(), frozenset(), False)
    lossy = path.suffix.lower() in LOSSY
    values = frozenset(np.unique(mask).tolist())
    if lossy or len(values) > MAX_SHADES + 1:  # no shades that could be classes
        return MaskFacts(values, frozenset(), lossy)
    return MaskFacts(values, frozenset(value for value in values if _fills_a_square(mask == value)), lossy)


def read_values(path: Path) -> np.ndarray:
    """A mask as (H, W) uint8: 1-bit as 0 and 1, indices of a palette, shades of grey or of one colour.

    Raises:
        ValueError: unreadable file, or more colours than one.
    """
    image = open_image(path)
    if image.mode in ("1", "L", "P"):
        return np.asarray(image).astype(np.uint8)
    channels = np.asarray(image.convert("RGB"))
    brightest = channels.max(axis=2)
    tint = (brightest - channels.min(axis=2)).max()
    if tint > MAX_TINT and len(np.unique(channels[brightest > 0], axis=0)) > 1:
        raise ValueError(
            f"{path}: a mask in several colours; expected one channel, black and white or a value for each class"
        )
    return brightest


def decide_classes(facts: Sequence[MaskFacts]) -> tuple[int, ...]:
    """The values that stand for classes, in order, where there are at least two; empty: one class, see `read_binary_mask`.

    Several classes are: at least two values besides 0, none above 31 (indices); or at most 8 shades besides 0 over all masks, two
    of them in one mask, each filling a 3x3 square somewhere, as the shades of an anti-aliased outline do not. JPEG masks, in
    which shades are noise, are one class.
    """
    values = frozenset().union(*(mask.values for mask in facts)) - {0}
    if len(values) < 2 or any(mask.lossy for mask in facts):
        return ()
    if max(values) <= MAX_INDEX:
        return tuple(sorted(values))
    solid = frozenset().union(*(mask.solid for mask in facts))
    together = any(len(mask.values - {0}) > 1 for mask in facts)
    return tuple(sorted(values)) if len(values) <= MAX_SHADES and values <= solid and together else ()


def _fills_a_square(where: np.ndarray) -> bool:
    if min(where.shape) < 3:
        return False
    rows = where[:-2] & where[1:-1] & where[2:]
    return bool((rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]).any())
