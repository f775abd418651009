"""Resampling and reading of natural images, by known values."""

import numpy as np
import pytest
from PIL import Image

from nnunet_mamba.dataset_conversion.formats.images import read_rgb, resample_image, resample_labels


def row(*values: int) -> np.ndarray:
    return np.repeat(np.array([values], np.uint8)[:, :, None], 3, axis=2)


@pytest.mark.parametrize(
    "values, width, expected",
    [
        ((0, 100, 200, 40), 2, (50, 120)),  # whole pixels: their mean
        ((0, 30, 90), 2, (10, 70)),  # 1.5 pixels each: (0 + 15) / 1.5, (15 + 90) / 1.5
        ((10, 20, 30, 40, 250), 1, (70,)),
        ((0, 100), 4, (0, 25, 75, 100)),  # growing: linear between pixel centres, held at the border
        ((7,), 3, (7, 7, 7)),
        ((255, 255, 255), 2, (255, 255)),
        ((1, 2), 1, (2,)),  # halves go up
        ((5, 6, 7), 3, (5, 6, 7)),
    ],
)
def test_image_along_one_axis(values, width, expected):
    np.testing.assert_array_equal(resample_image(row(*values), (1, width)), row(*expected))
    turned = resample_image(row(*values).transpose(1, 0, 2), (width, 1))
    np.testing.assert_array_equal(turned, row(*expected).transpose(1, 0, 2))


def test_area_average_keeps_the_mean():
    image = np.random.default_rng(0).integers(0, 256, (61, 77, 3), dtype=np.uint8)
    small = resample_image(image, (19, 23))
    assert small.shape == (19, 23, 3)
    assert abs(small.mean() - image.mean()) < 0.1


def test_labels_take_the_nearest_class():
    labels = np.array([[0, 0, 0, 3, 3, 3]], np.uint8)
    np.testing.assert_array_equal(resample_labels(labels, (1, 2)), [[0, 3]])
    np.testing.assert_array_equal(resample_labels(labels, (2, 12)), [[0] * 6 + [3] * 6] * 2)
    np.testing.assert_array_equal(resample_labels(np.array([[0, 1, 2]], np.uint8), (1, 1)), [[1]])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_rgb_from_every_8_bit_mode(tmp_path, mode):
    Image.new("L", (4, 3), 255).convert(mode).save(tmp_path / "image.png")
    image = read_rgb(tmp_path / "image.png")
    assert image.shape == (3, 4, 3) and image.dtype == np.uint8 and image.min() == 255


def test_16_bit_is_refused(tmp_path):
    Image.fromarray(np.full((3, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png: expected an 8-bit image, got Pillow mode 'I;16"):
        read_rgb(tmp_path / "deep.png")
