"""Outlines follow the rims of the masks, in the colours of the legend."""

import numpy as np
import pytest
from PIL import Image

from nnunet_mamba.evaluation import OverlayCase, contact_sheet, outline, overlay
from nnunet_mamba.evaluation.overlay import DASH, PREDICTION_COLOUR, TRUTH_COLOUR


def mask_of(*rows):
    return np.array([[int(label) for label in row] for row in rows])


@pytest.mark.parametrize(
    "mask, thickness, expected",
    [
        (mask_of("000", "010", "000"), 1, mask_of("000", "010", "000")),
        (mask_of("00000", "01110", "01110", "01110"), 1, mask_of("00000", "01110", "01010", "01110")),
        (mask_of("111", "111", "111"), 1, mask_of("111", "101", "111")),
        (mask_of("111", "111", "111"), 2, mask_of("111", "111", "111")),
        (mask_of("1111", "1122", "1122", "1111"), 1, mask_of("1111", "1111", "1111", "1111")),
        (mask_of("00", "00"), 1, mask_of("00", "00")),
    ],
    ids=["one pixel", "at the image's edge", "whole image", "two pixels wide", "two labels", "empty"],
)
def test_outline(mask, thickness, expected):
    assert np.array_equal(outline(mask, thickness), expected == 1)


def test_overlay_draws_both_outlines_and_nothing_else():
    image = np.full((40, 60, 3), 200, np.uint8)
    truth, prediction = np.zeros((2, 40, 60), int)
    truth[5:20, 5:20] = 1
    prediction[10:30, 30:55] = 1
    drawn = overlay(image, truth, prediction)
    assert (image == 200).all()
    changed = (drawn != image).any(axis=-1)
    assert not (changed & ~outline(truth) & ~outline(prediction)).any()
    assert (drawn[outline(truth)] == TRUTH_COLOUR).all()
    dashes = (drawn == PREDICTION_COLOUR).all(axis=-1)
    assert not (dashes & ~outline(prediction)).any()
    assert 0.3 < dashes.sum() / outline(prediction).sum() < 0.7


def test_both_outlines_are_visible_where_they_coincide():
    mask = np.zeros((20 + 2 * DASH, 60), int)
    mask[4:-4, 4:-4] = 1
    line = overlay(np.zeros((*mask.shape, 3), np.uint8), mask, mask)[4, 4:-4]
    assert {tuple(pixel) for pixel in line} == {TRUTH_COLOUR, PREDICTION_COLOUR}


@pytest.mark.parametrize(
    "image, truth, prediction, message",
    [
        ((8, 8), (8, 8), (8, 8), r"image of shape \(8, 8\)"),
        ((8, 8, 3), (8, 9), (8, 8), r"the truth has the shape \(8, 9\), the image \(8, 8\)"),
        ((8, 8, 3), (8, 8), (7, 8), r"the prediction has the shape \(7, 8\)"),
    ],
)
def test_shapes_that_disagree(image, truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        overlay(np.zeros(image, np.uint8), np.zeros(truth, int), np.zeros(prediction, int))


@pytest.mark.parametrize("count, columns, tiles", [(1, 4, (1, 1)), (5, 4, (4, 2)), (6, 3, (3, 2))])
def test_contact_sheet_has_a_tile_per_case(tmp_path, count, columns, tiles):
    image = np.full((96, 128, 3), (10, 200, 10), np.uint8)
    truth = np.zeros((96, 128), int)
    truth[20:60, 30:90] = 1
    path = tmp_path / "sheet.png"
    contact_sheet([OverlayCase(image, truth, truth, f"case {n}") for n in range(count)], path, columns)
    sheet = np.asarray(Image.open(path))
    tile = 2 * np.array([128, 96])  # enlarged by 2
    assert ((np.array(sheet.shape[1::-1]) - 8) // (tile + np.array([8, 32])) == tiles).all()  # margin and caption
    green = (sheet == (10, 200, 10)).all(axis=-1).sum()
    assert 0.9 < green / (count * tile.prod()) < 1


def test_contact_sheet_of_nothing(tmp_path):
    with pytest.raises(ValueError, match="no cases"):
        contact_sheet([], tmp_path / "sheet.png")
    assert not any(tmp_path.iterdir())
