"""Sunnybrook's contour files (a point `x y` per line, in pixels, not closed) and the masks that they outline."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def read_contour(path: Path) -> list[tuple[float, float]]:
    """The points (x, y) in pixels; the first column and row are 0.

    Raises:
        ValueError: a line is not two numbers, or there are fewer than three points. The message names file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file; fetch this file again") from error
    points = []
    for i, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            x, y = map(float, line.split())
        except ValueError as error:
            raise ValueError(f"{path}, line {i}: expected two numbers `x y`, got {line[:40]!r}") from error
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f"{path}, line {i}: expected two numbers `x y`, got {line[:40]!r}")
        points.append((x, y))
    if len(points) < 3:
        raise ValueError(f"{path}: {len(points)} points, a contour has three or more")
    return points


def fill_contour(path: Path, size: tuple[int, int]) -> np.ndarray:
    """The filled polygon of a contour file, outline included: (H, W) bool.

    Raises:
        ValueError: a broken file, or points outside the image.
    """
    points = read_contour(path)
    height, width = size
    for x, y in points:
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(f"{path}: the point {x:g} {y:g} lies outside its image of {height}x{width} pixels (H x W)")
    mask = Image.new("1", (width, height))
    ImageDraw.Draw(mask).polygon(points, fill=1, outline=1)
    return np.asarray(mask)
