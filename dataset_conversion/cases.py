"""What passes between a converter and the shared writer: cases, those that cannot be used, and what became of the others."""

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One image with its mask.

    Args:
        group: a lesion, a patient, a video: what no two folds share.
        image: the file that messages name as the image.
        mask: the file that messages name as the mask; None: a test case whose labels nobody has published.
        stratum: folds are balanced over it; a group belongs to that of its first case.
        test: an official test case, written to imagesTs (and labelsTs where it has a mask), in no fold.
        extra: what the converter's `read_case` needs besides.
    """

    id: str
    group: str
    image: Path
    mask: Path | None
    stratum: str = ""
    test: bool = False
    extra: tuple[Hashable, ...] = ()


@dataclass(frozen=True)
class BadCase:
    """A case that is not converted; `reason` names the file and says what is wrong with it.

    `expected`: the data set is published like this (an image that nobody has labelled), so it is told, and is no error.
    """

    id: str
    reason: str
    expected: bool = False


@dataclass(frozen=True)
class CaseFacts:
    """What a case measures: `size` is (H, W), or (D, H, W) of a volume, in pixels; `foreground` the share of pixels that are not
    background, 0 to 1, None without labels; `shares` that of each class or region, in the order of the recipe's labels."""

    id: str
    size: tuple[int, ...]
    foreground: float | None
    shares: tuple[float, ...] = ()
