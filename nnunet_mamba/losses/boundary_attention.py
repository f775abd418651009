"""Attention to boundaries: 1 / (1 + the exact Euclidean distance to the nearest pixel on the other side)."""

import math

import torch
from torch import Tensor

FAR = 1e6  # pixels: longer than any image, so that its square, rounded to float32, still loses every comparison
MOST = 2**25  # most numbers in memory while one axis is searched


def boundary_attention(truth: Tensor, known: Tensor | None = None) -> Tensor:
    """1 / (1 + d), d the distance in pixels from each pixel to the nearest one of the other value, in its own map.

    1/2 beside a boundary, falling with the distance. Unknown pixels have neither value: the edge of the labelled area
    is not a boundary. In a map with only one value, d is the map's diagonal, the largest possible distance. If it were
    smaller, the many maps of an absent class would outweigh the maps with a boundary. Computed by SciPy on a CPU, and
    by torch on other devices.

    Shape:
        truth: (B, K, ...) of 0 and 1, two or three spatial axes.
        known: (B, 1, ...) of 0 and 1, or None if all is known.
        Result: like truth, float32; finite even if nothing is known.
    """
    inside = truth > 0.5
    outside = ~inside
    if known is not None:
        inside, outside = inside & (known > 0.5), outside & (known > 0.5)
    distance_to = _by_scipy if truth.device.type == "cpu" else distance_to_nearest
    to_inside, to_outside = (distance_to(maps.flatten(0, 1)).view(truth.shape) for maps in (inside, outside))
    diagonal = math.sqrt(sum(length**2 for length in truth.shape[2:]))
    return 1 / (1 + torch.where(inside, to_outside, to_inside).clamp(max=diagonal))


def _by_scipy(goal: Tensor) -> Tensor:
    """`distance_to_nearest`, by SciPy."""
    from scipy.ndimage import distance_transform_edt

    distances = torch.full(goal.shape, FAR)
    for goals, distance in zip(goal, distances, strict=True):
        if goals.any():  # without one, SciPy measures to a pixel outside the map
            distance.copy_(torch.from_numpy(distance_transform_edt(~goals.numpy())))
    return distances


def distance_to_nearest(goal: Tensor) -> Tensor:
    """The distance to the nearest True, by torch (Felzenszwalb and Huttenlocher 2012, without their lower envelope).

    Running extrema give it along the last axis, minima over all offsets along each other axis.

    Shape:
        goal: (M, ...) bool. Result: the same, float32; about `FAR` or more in a map without any True.
    """
    index = torch.arange(goal.shape[-1], device=goal.device, dtype=torch.float32)
    before = torch.where(goal, index, -FAR).cummax(-1).values
    after = torch.where(goal, index, FAR).flip(-1).cummin(-1).values.flip(-1)
    squared = torch.minimum(index - before, after - index).square()
    for axis in range(goal.dim() - 2, 0, -1):
        squared = _nearest_along(squared.movedim(axis, -1)).movedim(-1, axis)
    return squared.sqrt()


def _nearest_along(squared: Tensor) -> Tensor:
    """min over j of squared[..., j] + (i - j)^2, for a slab of i at a time, so that memory stays bounded."""
    length = squared.shape[-1]
    index = torch.arange(length, device=squared.device, dtype=torch.float32)
    offsets = (index[:, None] - index).square()
    slab = max(1, MOST // squared.numel())
    nearest = [(squared[..., None, :] + offsets[i : i + slab]).amin(-1) for i in range(0, length, slab)]
    return torch.cat(nearest, dim=-1)
