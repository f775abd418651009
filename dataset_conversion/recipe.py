"""What a converter hands to the shared writer: how to find and read the cases of a data set, and what dataset.json says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case

if TYPE_CHECKING:
    import SimpleITK

Pixels = Union[np.ndarray, "SimpleITK.Image"]
ReadCase = Callable[[Case], tuple[Pixels, Pixels | None]]


@dataclass(frozen=True)
class PaperProtocol:
    """The papers' set-up.

    Args:
        size: (H, W) in pixels to resample to, or with `crop` to cut out of the middle; None: as they are.
        held_out: so many of the `published` cases are kept for evaluation; 0: the papers hold out none of the training cases.
        held_out_groups: the groups that are kept, where a paper names them; `held_out` does not count then.
    """

    size: tuple[int, int] | None
    held_out: int = 0
    published: int = 0
    crop: bool = False
    held_out_groups: tuple[str, ...] = ()

    def held_out_of(self, num_cases: int) -> int:
        """The papers' number while that is at most half of the cases; of a smaller source their share, at least one."""
        if num_cases >= 2 * self.held_out:
            return self.held_out
        return max(1, round(num_cases * self.held_out / self.published))


@dataclass(frozen=True)
class Recipe:
    """A data set for the shared writer.

    `find_cases(folder)` lists the usable cases and those that already look wrong (ValueError: not this data set at all).
    `read_case(case)` gives the image and its labels (None where `case.mask` is), and raises ValueError naming the file: for .png
    arrays, (H, W, 3) uint8 or (H, W) uint8 or uint16, with labels (H, W) uint8; for .nii.gz two SimpleITK images of one geometry,
    (1, H, W) or (D, H, W). Both are module-level functions, with options bound by functools.partial: spawned workers import them.

    `labels` gives values, or the values that make up a region; then `regions_class_order` is what nnU-Net asks for.
    """

    name: str
    channel_names: tuple[str, ...]
    labels: Mapping[str, int | tuple[int, ...]]
    description: str
    reference: str
    licence: str
    release: str
    paper: PaperProtocol | None
    find_cases: Callable[..., tuple[list[Case], list[BadCase]]]
    read_case: ReadCase
    file_ending: str = ".png"
    reader_writer: str = "NaturalImage2DIO"
    regions_class_order: tuple[int, ...] | None = None

    def classes(self) -> dict[str, tuple[int, ...]]:
        """Every class or region but the background, with the label values that make it up."""
        values = {name: value if isinstance(value, tuple) else (value,) for name, value in self.labels.items()}
        return {name: value for name, value in values.items() if name != "background"}
