"""Attention to boundaries: 1 / (1 + the exact Euclidean distance to the nearest pixel on the other side)."""

import numpy as np
import torch
from torch import Tensor

FAR = 1e6  # pixels: farther than any image is long, and its square is exact enough in float32 to lose every comparison
MOST = 2**25  # numbers that the search over one axis holds at a time


def boundary_attention(truth: Tensor) -> Tensor:
    """1 / (1 + d), d the distance in pixels from each pixel to the nearest one of the other value, in its own map.

    1/2 beside a boundary, falling with the distance. A map of one value has no boundary to look at: 1 everywhere. On a CPU by
    SciPy, elsewhere by torch on the device itself.

    Shape:
        truth: (B, K, ...) of 0 and 1, two or three spatial axes. Result: the same, float32.
    """
    maps = truth.flatten(0, 1) > 0.5
    distance = _by_scipy(maps) if maps.device.type == "cpu" else distance_to_other(maps)
    attention = 1 / (1 + distance)
    filled = maps.flatten(1)
    uniform = filled.all(1) | ~filled.any(1)
    return torch.where(uniform.view(-1, *[1] * (maps.dim() - 1)), 1.0, attention).view(truth.shape)


def _by_scipy(maps: Tensor) -> Tensor:
    from scipy.ndimage import distance_transform_edt

    values = maps.numpy()
    distances = np.empty(values.shape, np.float32)
    for inside, distance in zip(values, distances, strict=True):
        distance[...] = distance_transform_edt(inside) + distance_transform_edt(~inside)  # one of the two is zero
    return torch.from_numpy(distances)


def distance_to_other(maps: Tensor) -> Tensor:
    """The distance to the nearest pixel of the other value, by torch: along the last axis from running extrema, along each
    other axis by the minimum over all offsets (Felzenszwalb and Huttenlocher 2012, without their lower envelope).

    Shape:
        maps: (M, ...) bool. Result: the same, float32; `FAR` or more where there is no other value.
    """
    return torch.where(maps, _distance_to(~maps), _distance_to(maps))


def _distance_to(goal: Tensor) -> Tensor:
    """Distance to the nearest True."""
    place = torch.arange(goal.shape[-1], device=goal.device, dtype=torch.float32)
    before = torch.where(goal, place, -FAR).cummax(-1).values
    behind = torch.where(goal, place, FAR).flip(-1).cummin(-1).values.flip(-1)
    squared = torch.minimum(place - before, behind - place).square()
    for axis in range(goal.dim() - 2, 0, -1):
        squared = _nearest_along(squared.movedim(axis, -1)).movedim(-1, axis)
    return squared.sqrt()


def _nearest_along(squared: Tensor) -> Tensor:
    """min over j of squared[..., j] + (i - j)^2, a slab of i at a time so that memory stays bounded."""
    length = squared.shape[-1]
    place = torch.arange(length, device=squared.device, dtype=torch.float32)
    offsets = (place[:, None] - place).square()
    slab = max(1, MOST // squared.numel())
    nearest = [(squared[..., None, :] + offsets[i : i + slab]).amin(-1) for i in range(0, length, slab)]
    return torch.cat(nearest, dim=-1)
