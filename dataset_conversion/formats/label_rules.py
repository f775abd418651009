"""From the values of a mask to labels: by name, above a threshold, or as objects with a border."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from nnunet_mamba.dataset_conversion.formats.label_names import Named, colour_text
from nnunet_mamba.dataset_conversion.formats.mask_values import read_values

THRESHOLD = 127
WHITE = 255
OBJECT, BORDER = 1, 2


@dataclass(frozen=True)
class ByName:
    """Each value has the label of its name.

    Args:
        colours: the values are colours.
        threshold: values above 127 count as 255, the others as 0.
    """

    entries: Sequence[Named]
    labels: Mapping[str, int]
    colours: bool = False
    threshold: bool = False

    def read(self, path: Path) -> np.ndarray:
        """The labels of a mask file, uint8.

        Raises:
            ValueError: an unreadable file, or a value without a name.
        """
        values, _ = read_values(path, self.colours)
        if self.threshold:
            values = np.where(values > THRESHOLD, WHITE, 0)
        labels = np.full(values.shape, 255, np.uint8)
        for entry in self.entries:
            labels[(values >= entry.first) & (values <= entry.last)] = self.labels[entry.name]
        if labels.max() == 255:
            value = int(values[labels == 255][0])
            raise ValueError(f"{path}: holds {colour_text(value) if self.colours else value}, which has no name")
        return labels


@dataclass(frozen=True)
class Objects:
    """Every value but 0 (every colour but black) is an object of one class; `border` is a second class.

    A pixel is border if the 3x3 square around it (in a volume the cube) meets two objects: the rims of objects that
    touch, and the line between objects one pixel apart. DSB2018 has the same border.
    """

    border: bool = False

    def read(self, path: Path) -> np.ndarray:
        """The labels of a mask file, uint8: 1 object, 2 border. ValueError: an unreadable file."""
        values, _ = read_values(path)
        labels = (values != 0).astype(np.uint8) * OBJECT
        if self.border:
            far = np.iinfo(values.dtype).max
            lowest = ndimage.minimum_filter(np.where(values == 0, far, values), 3, mode="constant", cval=far)
            highest = ndimage.maximum_filter(np.where(values == 0, -far, values), 3, mode="constant", cval=-far)
            labels[lowest < highest] = BORDER
        return labels
