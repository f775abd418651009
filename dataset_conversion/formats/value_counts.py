"""How often each value occurs in all masks of a data set."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from nnunet_mamba.dataset_conversion.formats.mask_values import MaskFacts


class ValueCounts:
    """The pixels of each value over all masks, the number of masks that hold it, and one of them.

    Args:
        masks: broken ones count nothing.
        folder: where examples are named from.
    """

    def __init__(self, masks: Sequence[MaskFacts], folder: Path):
        self.masks = [mask for mask in masks if mask.counts]
        self._pixels = Counter[int]()
        self._holders = Counter[int]()
        self._example: dict[int, str] = {}
        for mask in self.masks:
            self._pixels.update(mask.counts)
            self._holders.update(mask.counts.keys())
            for value in mask.counts:
                self._example.setdefault(value, mask.path.relative_to(folder).as_posix())
        self.values = sorted(self._pixels)
        self._total = max(1, self._pixels.total())

    def most_common(self) -> list[int]:
        """The values, the most frequent first."""
        return [value for value, _ in self._pixels.most_common()]

    def meet(self) -> bool:
        """Whether a mask holds two values besides 0."""
        return any(len(mask.counts.keys() - {0}) > 1 for mask in self.masks)

    def share(self, value: int) -> float:
        """The share of all pixels that have the value, 0 to 1."""
        return self._pixels[value] / self._total

    def share_between(self, first: int, last: int) -> float:
        """The share of all pixels whose value is from `first` to `last`, 0 to 1."""
        return sum(self._pixels[value] for value in self.values if first <= value <= last) / self._total

    def holders(self, value: int) -> tuple[int, str]:
        """How many masks hold the value, and the name of one."""
        return self._holders[value], self._example[value]
