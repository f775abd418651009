"""What passes between a converter and the shared writer: cases, those that cannot be used, and what became of the others."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One image with its mask. `group` (a lesion, a patient, a video) is what no two folds share."""

    id: str
    group: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class BadCase:
    """A case that cannot be converted; `reason` names the file and says what is wrong with it."""

    id: str
    reason: str


@dataclass(frozen=True)
class CaseFacts:
    """What a case measures: `size` is (H, W) in pixels, `foreground` the share of pixels that are not background, 0 to 1."""

    id: str
    size: tuple[int, int]
    foreground: float
