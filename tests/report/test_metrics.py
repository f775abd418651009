"""Each number against a value worked out by hand; empty masks, ignored pixels, borders, spacing, probabilities."""

import math

import numpy as np
import pytest

from nnunet_mamba.report.metrics import DISTANCES, OVERLAP, distances, overlap, soft_dice

NAN = dict.fromkeys(("hd95", "assd", "nsd"), math.nan)


def mask_of(*rows):
    return np.array([[pixel == "1" for pixel in row] for row in rows])


EMPTY = np.zeros((3, 4), bool)
ONE = mask_of("1000", "0000", "0000")


@pytest.mark.parametrize(
    ("truth", "prediction", "expected", "empty"),
    [
        # TP 2, FP 1, FN 2: Dice 4/7, IoU 2/5, precision 2/3, recall 2/4
        (mask_of("1100", "1100"), mask_of("1110", "0000"), (4 / 7, 2 / 5, 2 / 3, 1 / 2), (False, False)),
        (ONE, ONE, (1, 1, 1, 1), (False, False)),
        (ONE, EMPTY, (0, 0, 0, 0), (False, True)),
        (EMPTY, ONE, (0, 0, 0, 0), (True, False)),
        (EMPTY, EMPTY, (math.nan,) * 4, (True, True)),
    ],
    ids=["by hand", "equal", "prediction empty", "truth empty", "both empty"],
)
def test_overlap(truth, prediction, expected, empty):
    numbers, is_empty = overlap(truth, prediction, None)
    assert [numbers[metric.key] for metric in OVERLAP] == pytest.approx(list(expected), nan_ok=True)
    assert is_empty == empty


def test_ignored_pixels_do_not_count():
    truth, prediction = mask_of("1100", "0000"), mask_of("1110", "0000")
    numbers, _ = overlap(truth, prediction, mask_of("0010", "0000"))
    assert numbers == dict.fromkeys(("dice", "iou", "precision", "recall"), 1.0)
    assert overlap(truth, prediction, mask_of("1110", "0000"))[1] == (True, True)


# the diagonal of 3 x 4 pixels of 3 x 1 mm is hypot(9, 4)
@pytest.mark.parametrize(
    ("truth", "prediction", "spacing", "expected"),
    [
        (ONE, EMPTY, (1, 1), {"hd95": 5.0, "assd": 5.0, "nsd": 0.0}),
        (EMPTY, ONE, (3, 1), {"hd95": math.hypot(9, 4), "assd": math.hypot(9, 4), "nsd": 0.0}),
        (EMPTY, EMPTY, (1, 1), NAN),
        (ONE, ONE, (1, 1), {"hd95": 0.0, "assd": 0.0, "nsd": 1.0}),
        # one pixel in two corners: 3 columns and 2 rows of 2 mm apart, both ways
        (ONE, mask_of("0000", "0000", "0001"), (2, 1), {"hd95": 5.0, "assd": 5.0, "nsd": 0.0}),
        # a line of 4 and its first pixel: 0 one way; 0, 1, 2, 3 the other, whose 95th percentile is 2.85
        (ONE, mask_of("1111", "0000", "0000"), (1, 1), {"hd95": 2.85, "assd": 6 / 5, "nsd": 3 / 5}),
    ],
)
def test_distances(truth, prediction, spacing, expected):
    pytest.importorskip("monai")
    assert distances(truth, prediction, None, spacing, tolerance=1) == pytest.approx(expected, nan_ok=True)


def test_distances_of_a_volume():
    """Two voxels, 2 slices of 5 mm, 1 row of 2 mm and 1 column of 1 mm apart."""
    pytest.importorskip("monai")
    truth, prediction = np.zeros((2, 4, 4, 4), bool)
    truth[0, 0, 0] = prediction[2, 1, 1] = True
    far = math.sqrt(10**2 + 2**2 + 1**2)
    measured = distances(truth, prediction, None, (5, 2, 1), tolerance=far + 1e-3)
    assert measured == pytest.approx({"hd95": far, "assd": far, "nsd": 1.0})


def test_distances_end_where_it_is_ignored():
    """The prediction covers all of the ignored half: what lies there is not wrong, and has no boundary."""
    pytest.importorskip("monai")
    truth, prediction, ignored = np.zeros((3, 20, 20), bool)
    ignored[:, 10:] = True
    truth[5:15, 5:10] = True
    prediction[5:15, 5:20] = True
    assert distances(truth, prediction, ignored, (1, 1), 0) == pytest.approx({"hd95": 0, "assd": 0, "nsd": 1})
    prediction[5:15, 4] = True  # one column too many, outside
    # of the prediction's 10 + 6 + 6 - 2 boundary pixels the 10 of the left column are 1 px off; so are the truth's
    measured = distances(truth, prediction, ignored, (1, 1), 0)
    assert measured["hd95"] == 1.0 and 0 < measured["nsd"] < 1
    assert distances(truth, prediction, np.ones_like(truth), (1, 1), 0) == pytest.approx(NAN, nan_ok=True)
    truth[:, :10] = False  # the prediction outside is then false, as for the overlap
    assert distances(truth, prediction, ignored, (1, 1), 0)["hd95"] == 20.0 * math.sqrt(2)


def test_soft_dice():
    """2 (0.5 + 0.75) / (0.5 + 0.75 + 0.25 + 2) = 2.5 / 3.5; without the third pixel 2.5 / 3.25."""
    probability, truth = np.array([0.5, 0.75, 0.25, 0.0]), np.array([True, True, False, False])
    assert soft_dice(probability, truth, None) == pytest.approx(2.5 / 3.5)
    assert soft_dice(probability, truth, np.array([False, False, True, False])) == pytest.approx(2.5 / 3.25)
    assert math.isnan(soft_dice(np.zeros(4), np.zeros(4, bool), None))


def test_the_page_explains_every_metric():
    assert all(metric.meaning for metric in (*OVERLAP, *DISTANCES))
