"""A dozen cases with the outline of their mask, in one PNG: whether images and masks match is seen at a glance."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from nnunet_mamba.dataset_conversion.cases import CaseFacts
from nnunet_mamba.dataset_conversion.images import resample_labels, write_png
from nnunet_mamba.dataset_conversion.writer import image_path, label_path
from nnunet_mamba.evaluation.overlay import outline

NUM_CASES = 12
COLUMNS = 4
CELL = (210, 280)  # (H, W) pixels for an image
CAPTION = 18
INNER, OUTER = (0, 255, 80), (0, 0, 0)  # two tones: one of them shows on any skin


def write_contact_sheet(path: Path, folder: Path, training: Sequence[CaseFacts], test: Sequence[CaseFacts]) -> None:
    """Draw from the written files, so that what nnU-Net will read is what is seen: evenly spaced from smallest to largest mask."""
    parts = {facts.id: part for part, cases in (("Tr", training), ("Ts", test)) for facts in cases}
    chosen = _spread(sorted([*training, *test], key=lambda facts: (facts.foreground, facts.id)))
    rows = -(-len(chosen) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * CELL[1], rows * (CELL[0] + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, facts in enumerate(chosen):
        x, y = i % COLUMNS * CELL[1], i // COLUMNS * (CELL[0] + CAPTION)
        draw.text((x + 4, y + 3), f"{facts.id}   {100 * facts.foreground:.1f} %", fill="black")
        sheet.paste(_overlay(folder, parts[facts.id], facts.id), (x, y + CAPTION))
    write_png(path, np.asarray(sheet))


def _spread(cases: Sequence[CaseFacts]) -> list[CaseFacts]:
    if len(cases) <= NUM_CASES:
        return list(cases)
    return [cases[i * (len(cases) - 1) // (NUM_CASES - 1)] for i in range(NUM_CASES)]


def _overlay(folder: Path, part: str, case_id: str) -> Image.Image:
    with Image.open(image_path(folder, part, case_id)) as file:
        image = file.convert("RGB")
    with Image.open(label_path(folder, part, case_id)) as file:
        labels = np.asarray(file)
    scale = min((CELL[0] - 4) / image.height, (CELL[1] - 4) / image.width)
    size = (max(1, round(image.height * scale)), max(1, round(image.width * scale)))
    pixels = np.array(image.resize(size[::-1], Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR))
    labels = resample_labels(labels, size)
    rim = outline(labels)
    pixels[outline(labels, thickness=2)] = INNER
    pixels[rim] = OUTER
    return Image.fromarray(pixels)
