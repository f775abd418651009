"""MONAI's distances beside the exact ones, on shapes whose distances are known: the table that the page shows."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from nnunet_mamba.report.exactness import EXACTNESS
from nnunet_mamba.report.metrics import distances

pytest.importorskip("monai")


def box(shape, low, high):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high))] = True
    return mask


def ball(shape, radius, spacing):
    """Centred on the middle pixel; `radius` in the unit of `spacing`."""
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    return sum(((x - n // 2) * s) ** 2 for x, n, s in zip(axes, shape, spacing)) <= radius**2


def boxes_outline(low, high):
    """Points spread evenly over the surface of a box, in mm."""
    axes, step = len(low), 0.02 if len(low) == 2 else 0.25
    faces = []
    for axis in range(axes):
        others = [i for i in range(axes) if i != axis]
        grid = np.meshgrid(*(np.arange(low[i] + step / 2, high[i], step) for i in others))
        for side in (low[axis], high[axis]):
            face = np.full((grid[0].size, axes), float(side))
            for i, coordinates in zip(others, grid):
                face[:, i] = coordinates.ravel()
            faces.append(face)
    return np.concatenate(faces)


def exact_of_boxes(first, second):
    """HD95 and ASSD between the surfaces of two boxes, each (low, high) in mm."""
    points = [boxes_outline(*each) for each in (first, second)]
    there, back = (cKDTree(b).query(a)[0] for a, b in (points, points[::-1]))
    return max(np.quantile(there, 0.95), np.quantile(back, 0.95)), np.concatenate([there, back]).mean()


def concentric(difference):
    return difference, difference  # from every point, the other outline is as far


# truth, prediction, spacing, the exact HD95 and ASSD: a row per row of the page's table
SHAPES = [
    (box((40, 40), (10, 10), (20, 20)), box((40, 40), (10, 13), (20, 23)), (1, 1),
     exact_of_boxes(((10, 10), (20, 20)), ((10, 13), (20, 23)))),
    (box((40, 40), (10, 10), (20, 20)), box((40, 40), (13, 10), (23, 20)), (2, 0.5),
     exact_of_boxes(((20, 5), (40, 10)), ((26, 5), (46, 10)))),
    (box((40, 40), (0, 0), (40, 10)), box((40, 40), (0, 0), (40, 14)), (1, 1),
     exact_of_boxes(((0, 0), (40, 10)), ((0, 0), (40, 14)))),
    (box((40, 40), (0, 0), (40, 40)), box((40, 40), (3, 3), (37, 37)), (1, 1),
     exact_of_boxes(((0, 0), (40, 40)), ((3, 3), (37, 37)))),
    (ball((128, 128), 50, (1, 1)), ball((128, 128), 45, (1, 1)), (1, 1), concentric(5)),
    (ball((128, 128), 5, (1, 1)), ball((128, 128), 3, (1, 1)), (1, 1), concentric(2)),
    (ball((64, 256), 50, (2, 0.5)), ball((64, 256), 45, (2, 0.5)), (2, 0.5), concentric(5)),
    (ball((48, 48, 48), 20, (1, 1, 1)), ball((48, 48, 48), 17, (1, 1, 1)), (1, 1, 1), concentric(3)),
    (ball((11, 48, 48), 20, (5, 1, 1)), ball((11, 48, 48), 17, (5, 1, 1)), (5, 1, 1), concentric(3)),
    (box((12, 30, 30), (3, 5, 5), (8, 25, 25)), box((12, 30, 30), (4, 5, 5), (9, 25, 25)), (5, 1, 1),
     exact_of_boxes(((15, 5, 5), (40, 25, 25)), ((20, 5, 5), (45, 25, 25)))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "shapes"), list(zip(EXACTNESS, SHAPES, strict=True)), ids=lambda x: getattr(x, "shapes", "")
)
def test_the_pages_table(row, shapes):
    truth, prediction, spacing, (hd95, assd) = shapes
    measured = distances(truth, prediction, None, spacing, tolerance=1)
    assert [f"{measured[key]:.2f}" for key in ("hd95", "assd")] == [row.hd95, row.assd]
    assert abs(hd95 - float(row.exact_hd95)) < 0.02 and abs(assd - float(row.exact_assd)) < 0.02


@pytest.mark.parametrize("shapes", SHAPES)
def test_one_pass_equals_monais_own_functions(shapes):
    """Our HD95, ASSD and NSD are those of MONAI's compute_... functions, in either direction."""
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

    truth, prediction, spacing, _ = shapes
    masks = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, truth)]
    options = {"include_background": True, "spacing": [float(length) for length in spacing]}
    measured = distances(truth, prediction, None, spacing, tolerance=2)
    assert measured == pytest.approx(distances(prediction, truth, None, spacing, tolerance=2))
    assert measured["hd95"] == pytest.approx(compute_hausdorff_distance(*masks, percentile=95, **options).item())
    assert measured["assd"] == pytest.approx(compute_average_surface_distance(*masks, symmetric=True, **options).item())
    assert measured["nsd"] == pytest.approx(compute_surface_dice(*masks, class_thresholds=[2], **options).item())
