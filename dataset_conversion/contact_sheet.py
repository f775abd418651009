"""A dozen cases with the outlines of their labels, in one PNG: whether images and masks match is seen at a glance."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from nnunet_mamba.dataset_conversion.cases import CaseFacts
from nnunet_mamba.dataset_conversion.images import resample_labels, write_png
from nnunet_mamba.dataset_conversion.recipe import Recipe
from nnunet_mamba.dataset_conversion.writer import image_path, label_path
from nnunet_mamba.evaluation.overlay import outline

NUM_CASES = 12
COLUMNS = 4
CELL = (210, 280)  # (H, W) pixels for an image
CAPTION = 18
RIM = (0, 0, 0)  # beside a bright tone: one of the two shows on any image
TONES = (  # of the labels 1, 2, ...
    *((0, 255, 80), (255, 60, 220), (60, 190, 255), (255, 220, 0)),
    *((255, 90, 40), (170, 120, 255), (0, 230, 220), (255, 160, 190)),
)
NAME_LENGTH = 30  # of an id; the rest does not fit
WINDOW = (1, 99)  # percentiles shown as black and white, where more than 8 bits must be shown


def write_contact_sheet(
    path: Path, folder: Path, recipe: Recipe, training: Sequence[CaseFacts], test: Sequence[CaseFacts]
) -> None:
    """Draw from the written files, so that what nnU-Net will read is what is seen: evenly spaced from smallest to largest mask.

    Of a volume, the middle one of the slices that hold labels. Each label value has its tone; a legend names more than one.
    """
    parts = {facts.id: part for part, cases in (("Tr", training), ("Ts", test)) for facts in cases}
    labelled = [facts for facts in (*training, *test) if facts.foreground is not None]
    chosen = _spread(sorted(labelled, key=lambda facts: (facts.foreground, facts.id)))
    rows = -(-len(chosen) // COLUMNS)
    legend = CAPTION if len(recipe.classes()) > 1 else 0
    sheet = Image.new("RGB", (COLUMNS * CELL[1], rows * (CELL[0] + CAPTION) + legend), "white")
    draw = ImageDraw.Draw(sheet)
    for i, facts in enumerate(chosen):
        x, y = i % COLUMNS * CELL[1], i // COLUMNS * (CELL[0] + CAPTION)
        name = facts.id if len(facts.id) <= NAME_LENGTH else f"{facts.id[: NAME_LENGTH - 3]}..."
        draw.text((x + 4, y + 3), f"{name}   {100 * facts.foreground:.1f} %", fill="black")
        sheet.paste(_overlay(folder, parts[facts.id], facts.id, recipe), (x, y + CAPTION))
    if legend:
        _draw_legend(draw, recipe, sheet.height - CAPTION)
    write_png(path, np.asarray(sheet))


def _spread(cases: Sequence[CaseFacts]) -> list[CaseFacts]:
    if len(cases) <= NUM_CASES:
        return list(cases)
    return [cases[i * (len(cases) - 1) // (NUM_CASES - 1)] for i in range(NUM_CASES)]


def _overlay(folder: Path, part: str, case_id: str, recipe: Recipe) -> Image.Image:
    ending = recipe.file_ending
    image, labels = _load(image_path(folder, part, case_id, ending), label_path(folder, part, case_id, ending))
    scale = min((CELL[0] - 4) / image.height, (CELL[1] - 4) / image.width)
    size = (max(1, round(image.height * scale)), max(1, round(image.width * scale)))
    pixels = np.array(image.resize(size[::-1], Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR))
    labels = resample_labels(labels, size)
    rim, inner = outline(labels), outline(labels, thickness=2)
    pixels[inner] = np.array(TONES, np.uint8)[(labels[inner] - 1) % len(TONES)]
    pixels[rim & _is_beside(np.where(rim, 0, labels), labels)] = RIM  # what is all rim keeps its tone
    return Image.fromarray(pixels)


def _is_beside(inside: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where a pixel of (H, W) has a neighbour of its own label in `inside`."""
    padded = np.pad(inside, 1)
    neighbours = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    return np.logical_or.reduce([neighbour == labels for neighbour in neighbours])


def _load(image_path: Path, label_path: Path) -> tuple[Image.Image, np.ndarray]:
    """RGB and labels (H, W) of a PNG, or of the middle labelled slice of a volume."""
    if image_path.suffix == ".png":
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


def _draw_legend(draw: ImageDraw.ImageDraw, recipe: Recipe, y: int) -> None:
    """A region is named at the tones of its values."""
    x = 4
    for name, values in recipe.classes().items():
        for value in values:
            draw.rectangle((x, y + 3, x + 10, y + 13), fill=TONES[(value - 1) % len(TONES)])
            x += 14
        draw.text((x + 2, y + 3), name, fill="black")
        x += 16 + round(draw.textlength(name))
