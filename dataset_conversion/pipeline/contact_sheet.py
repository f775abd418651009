"""Twelve cases with the outlines of their labels in one PNG, to see at a glance whether images and masks match."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from nnunet_mamba.dataset_conversion.dataset import Dataset
from nnunet_mamba.dataset_conversion.formats.images import resample_labels, write_png
from nnunet_mamba.dataset_conversion.pipeline.report import value_text
from nnunet_mamba.dataset_conversion.pipeline.verify import CaseFacts
from nnunet_mamba.dataset_conversion.pipeline.writer import image_path, label_path
from nnunet_mamba.evaluation.overlay import outline

NUM_CASES = 12
COLUMNS = 4
CELL = (210, 280)  # (H, W) pixels per image
CAPTION = 18
RIM = (0, 0, 0)  # beside a bright tone, so that one of the two shows on any image
TONES = (  # for the labels 1, 2, ...
    *((0, 255, 80), (255, 60, 220), (60, 190, 255), (255, 220, 0)),
    *((255, 90, 40), (170, 120, 255), (0, 230, 220), (255, 160, 190)),
)
NAME_LENGTH = 30  # characters of an id that fit
WINDOW = (1, 99)  # percentiles shown as black and white, if an image has more than 8 bits


def write_contact_sheet(
    path: Path, folder: Path, dataset: Dataset, training: Sequence[CaseFacts], test: Sequence[CaseFacts]
) -> None:
    """Draw the written files, as nnU-Net will read them: cases evenly spaced from the smallest to the largest mask.

    A volume is shown by the middle one of its slices with labels, an image of several files by its first channel. Each
    label value has its tone; a legend names several, and what the values of the masks became.
    """
    parts = {facts.id: part for part, cases in (("Tr", training), ("Ts", test)) for facts in cases}
    labelled = [(facts.foreground, facts.id) for facts in (*training, *test) if facts.foreground is not None]
    chosen = _spread(sorted(labelled))
    rows = -(-len(chosen) // COLUMNS)
    legend = CAPTION * max(len(dataset.classes()) > 1, len(dataset.mask_values))
    sheet = Image.new("RGB", (COLUMNS * CELL[1], rows * (CELL[0] + CAPTION) + legend), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (foreground, id) in enumerate(chosen):
        x, y = i % COLUMNS * CELL[1], i // COLUMNS * (CELL[0] + CAPTION)
        name = id if len(id) <= NAME_LENGTH else f"{id[: NAME_LENGTH - 3]}..."
        draw.text((x + 4, y + 3), f"{name}   {100 * foreground:.1f} %", fill="black")
        sheet.paste(_overlay(folder, parts[id], id, dataset), (x, y + CAPTION))
    if dataset.mask_values:
        _draw_values(draw, dataset, sheet.height - legend)
    elif legend:
        _draw_legend(draw, dataset, sheet.height - CAPTION)
    write_png(path, np.asarray(sheet))


def _spread(cases: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    if len(cases) <= NUM_CASES:
        return list(cases)
    return [cases[i * (len(cases) - 1) // (NUM_CASES - 1)] for i in range(NUM_CASES)]


def _overlay(folder: Path, part: str, case_id: str, dataset: Dataset) -> Image.Image:
    ending = dataset.file_ending
    image, labels = _load(image_path(folder, part, case_id, ending), label_path(folder, part, case_id, ending))
    scale = min((CELL[0] - 4) / image.height, (CELL[1] - 4) / image.width)
    size = (max(1, round(image.height * scale)), max(1, round(image.width * scale)))
    pixels = np.array(image.resize(size[::-1], Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR))
    labels = resample_labels(labels, size)
    rim, inner = outline(labels), outline(labels, thickness=2)
    pixels[inner] = np.array(TONES, np.uint8)[(labels[inner] - 1) % len(TONES)]
    pixels[rim & _is_beside(np.where(rim, 0, labels), labels)] = RIM  # labels that are all rim keep their tone
    return Image.fromarray(pixels)


def _is_beside(inside: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where a pixel (H, W) has a neighbour with its own label in `inside`."""
    padded = np.pad(inside, 1)
    neighbours = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    return np.logical_or.reduce([neighbour == labels for neighbour in neighbours])


def _load(image_path: Path, label_path: Path) -> tuple[Image.Image, np.ndarray]:
    """RGB image and labels (H, W) of a PNG, or of the middle labelled slice of a volume."""
    if image_path.suffix in (".png", ".tif"):
        with Image.open(image_path) as file:
            pixels = np.asarray(file)
        with Image.open(label_path) as file:
            labels = np.asarray(file)
    else:
        import SimpleITK as sitk

        pixels, labels = (sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in (image_path, label_path))
        if labels.ndim == 3:
            slices = np.flatnonzero(labels.any(axis=(1, 2)))
            middle = slices[len(slices) // 2] if len(slices) else len(labels) // 2
            pixels, labels = pixels[middle], labels[middle]
    if pixels.dtype != np.uint8:
        low, high = np.percentile(pixels, WINDOW)
        pixels = np.clip((pixels - low) * (255 / max(high - low, 1e-6)), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert("RGB"), labels


def _draw_values(draw: ImageDraw.ImageDraw, dataset: Dataset, y: int) -> None:
    """A line per value of the masks: its tone, what it became, and its share."""
    for i, value in enumerate(dataset.mask_values):
        labels = [dataset.classes()[name] for name in value.name.split(" or ") if name in dataset.classes()]
        for j, (label,) in enumerate(labels):
            box = (4 + 14 * j, y + i * CAPTION + 3, 14 + 14 * j, y + i * CAPTION + 13)
            draw.rectangle(box, fill=TONES[(label - 1) % len(TONES)])
        draw.text((34, y + i * CAPTION + 2), value_text(value), fill="black")


def _draw_legend(draw: ImageDraw.ImageDraw, dataset: Dataset, y: int) -> None:
    """A region has the tones of all its values."""
    x = 4
    for name, values in dataset.classes().items():
        for value in values:
            draw.rectangle((x, y + 3, x + 10, y + 13), fill=TONES[(value - 1) % len(TONES)])
            x += 14
        draw.text((x + 2, y + 3), name, fill="black")
        x += 16 + round(draw.textlength(name))
