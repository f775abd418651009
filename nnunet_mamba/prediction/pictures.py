"""Pictures of predictions: masks in visible colours, and outlines on the image."""

import numpy as np

from nnunet_mamba.evaluation import as_8_bit, overlay
from nnunet_mamba.prediction.images import Case

# bright on black, and different for every kind of colour vision (Okabe and Ito)
COLOURS = np.array(
    [
        *((255, 255, 255), (230, 159, 0), (86, 180, 233), (0, 158, 115)),
        *((240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)),
    ],
    np.uint8,
)


def visible(labels: np.ndarray) -> np.ndarray:
    """Labels (H, W) as colours (H, W, 3): 0 black, 1 white, 2 to 8 a colour each, then the same again."""
    return np.where((labels > 0)[..., None], COLOURS[(labels.astype(int) - 1) % len(COLOURS)], np.uint8(0))


def outlined(case: Case, labels: np.ndarray) -> np.ndarray:
    """The image of a case with the outlines of its labels (Z, Y, X), as (H, W, 3) uint8.

    Of a volume it is the slice with most foreground, across the axis of the coarsest spacing.
    """
    axis = int(np.argmax(case.properties["spacing"])) if labels.shape[0] > 1 else 0
    others = tuple(i for i in range(3) if i != axis)
    index = int(np.argmax(np.count_nonzero(labels, axis=others)))
    image, mask = case.channels.take(index, axis=axis + 1), labels.take(index, axis=axis)
    if len(image) == 3 and image.min() >= 0 and image.max() <= 255:
        drawn = image.astype(np.uint8).transpose(1, 2, 0)
    else:
        drawn = np.repeat(as_8_bit(image[0])[..., None], 3, axis=2)
    return overlay(np.ascontiguousarray(drawn), np.zeros_like(mask), mask, max(1, round(min(mask.shape) / 250)))
