"""What a converter hands to the shared writer: how to find and read the cases of a data set, and what dataset.json says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case


@dataclass(frozen=True)
class PaperProtocol:
    """The papers' set-up: images resampled to `size` = (H, W), and `held_out` of the `published` cases kept for evaluation."""

    size: tuple[int, int]
    held_out: int
    published: int

    def held_out_of(self, num_cases: int) -> int:
        """The papers' number while that is at most half of the cases; of a smaller source their share, at least one."""
        if num_cases >= 2 * self.held_out:
            return self.held_out
        return max(1, round(num_cases * self.held_out / self.published))


@dataclass(frozen=True)
class Recipe:
    """A data set for the shared writer.

    `find_cases(folder)` lists the usable cases and those that already look wrong (ValueError: not this data set at all);
    `read_case(case)` gives image (H, W, C) uint8 and labels (H, W) uint8, and raises ValueError naming the file. Both are
    module-level functions: spawned workers import them.
    """

    name: str
    channel_names: tuple[str, ...]
    labels: Mapping[str, int]
    description: str
    reference: str
    licence: str
    release: str
    paper: PaperProtocol
    find_cases: Callable[[Path], tuple[list[Case], list[BadCase]]]
    read_case: Callable[[Case], tuple[np.ndarray, np.ndarray]]
