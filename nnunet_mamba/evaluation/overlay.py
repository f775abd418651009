"""Draws outlines of truth and prediction into one image, or into many on a contact sheet.

The truth is a solid blue line, the prediction a dashed yellow one on top. These colours differ for every kind of colour
vision, and both lines are visible where they coincide.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TRUTH_COLOUR = (0, 80, 220)
PREDICTION_COLOUR = (255, 240, 30)
DASH = 6  # pixels
WINDOW = (0.5, 99.5)  # percentiles of grey values that become black and white

TILE_WIDTH = 320  # smaller images are enlarged to about this
MARGIN = 8
CAPTION_HEIGHT = 24
LEGEND_HEIGHT = 36


class OverlayCase(NamedTuple):
    """One picture of a contact sheet: image (H, W, 3) uint8, truth and prediction (H, W) integer labels, a caption."""

    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    caption: str = ""


def as_8_bit(image: np.ndarray) -> np.ndarray:
    """Colours and 8-bit grey as they are; of other grey values the `WINDOW` becomes black to white."""
    if image.dtype == np.uint8:
        return image
    if image.dtype == bool:
        return image.astype(np.uint8) * 255
    values = np.nan_to_num(image.astype(np.float32))
    low, high = np.percentile(values, WINDOW)
    return (255 * ((values - low) / max(high - low, 1e-9)).clip(0, 1)).astype(np.uint8)


def outline(mask: np.ndarray, thickness: int = 1) -> np.ndarray:
    """The rim of each label: pixels with one of four neighbours in another label or outside the image.

    Args:
        thickness: width of the rim in pixels, inwards.
    Shape:
        mask: (H, W) integer, 0 = background. Result: (H, W) bool.
    """
    inside = mask.copy()
    for _ in range(thickness):
        padded = np.pad(inside, 1)
        rim = np.zeros(mask.shape, dtype=bool)
        for neighbour in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
            rim |= neighbour != inside
        inside[rim] = 0
    return (mask != 0) & (inside == 0)


def overlay(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, thickness: int = 1) -> np.ndarray:
    """A copy of `image` with the outlines of `truth` (solid blue) and, on top, `prediction` (dashed yellow).

    Args:
        thickness: width of the lines in pixels.
    Shape:
        image: (H, W, 3) uint8. truth, prediction: (H, W) integer labels. Result: (H, W, 3) uint8.
    Raises:
        ValueError: the image is not RGB, or a mask differs in size.
    """
    _check(image, truth, prediction)
    drawn = image.copy()
    drawn[outline(truth, thickness)] = TRUTH_COLOUR
    y, x = np.indices(truth.shape)
    drawn[outline(prediction, thickness) & ((y + x) // DASH % 2 == 0)] = PREDICTION_COLOUR
    return drawn


def _check(image: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"overlay: got an image of shape {image.shape} and type {image.dtype}, wanted (H, W, 3) uint8")
    for name, mask in (("truth", truth), ("prediction", prediction)):
        if mask.shape != image.shape[:2]:
            raise ValueError(
                f"overlay: the {name} has the shape {mask.shape}, the image {image.shape[:2]}: wanted the same"
            )


def contact_sheet(cases: Sequence[OverlayCase], path: str | Path, columns: int = 4) -> None:
    """Write one picture with an overlay and caption per case, row by row, below a legend.

    Raises:
        ValueError: no cases, or a case that `overlay` refuses.
    """
    if not cases:
        raise ValueError("contact_sheet: got no cases, wanted at least one")
    tiles = [_tile(case) for case in cases]
    columns = min(columns, len(tiles))
    width = max(tile.width for tile in tiles) + MARGIN
    height = max(tile.height for tile in tiles) + MARGIN
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * width + MARGIN, rows * height + MARGIN + LEGEND_HEIGHT), "white")
    _draw_legend(ImageDraw.Draw(sheet))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (MARGIN + number % columns * width, MARGIN + LEGEND_HEIGHT + number // columns * height))
    sheet.save(path)


def _tile(case: OverlayCase) -> Image.Image:
    _check(case.image, case.truth, case.prediction)
    height, width = case.truth.shape
    factor = max(1, round(TILE_WIDTH / width))
    size = (width * factor, height * factor)
    image = np.asarray(Image.fromarray(case.image).resize(size, Image.Resampling.BICUBIC))
    truth, prediction = (_enlarge(mask, factor) for mask in (case.truth, case.prediction))
    tile = Image.new("RGB", (size[0], size[1] + CAPTION_HEIGHT), "white")
    tile.paste(Image.fromarray(overlay(image, truth, prediction, thickness=2)))
    font = ImageFont.load_default(16)
    ImageDraw.Draw(tile).text((2, size[1] + CAPTION_HEIGHT // 2), case.caption, "black", font, anchor="lm")
    return tile


def _enlarge(mask: np.ndarray, factor: int) -> np.ndarray:
    return mask.repeat(factor, axis=0).repeat(factor, axis=1)


def _draw_legend(draw: ImageDraw.ImageDraw) -> None:
    font = ImageFont.load_default(16)
    middle = MARGIN + LEGEND_HEIGHT // 2
    for x, text, colour, dash in ((MARGIN, "truth", TRUTH_COLOUR, 40), (130, "prediction", PREDICTION_COLOUR, 8)):
        draw.rectangle((x, middle - 8, x + 48, middle + 8), fill=(196, 140, 110))
        for start in range(x + 4, x + 44, 2 * dash):
            draw.line((start, middle, start + dash - 1, middle), fill=colour, width=3)
        draw.text((x + 56, middle), text, "black", font, anchor="lm")
