"""The search for patch and batch, with a linear estimate: its choices, and that more memory never plans less."""

import pytest

from nnunet_mamba.planning.patch_and_batch import NothingFits, choose, patches_to_try

FIXED, A_PIXEL = 1000, 2


def estimate(patch, batch):
    return FIXED + A_PIXEL * patch[0] * patch[1] * batch


def needs(height, width, batch):
    return estimate((height, width), batch)


@pytest.mark.parametrize(
    ("median", "spacing", "first", "second"),
    [
        ((192, 256), (1, 1), (192, 256), (192, 224)),
        ((573, 765), (1, 1), (576, 768), (544, 768)),  # up to the next multiple of 32
        ((100, 60.5), (1, 1), (128, 64), (96, 64)),
        ((28, 28), (1, 1), (32, 32), None),
        ((20, 500), (1, 1), (32, 512), (32, 480)),
        ((4000, 3000), (1, 1), (2048, 2048), (2048, 2016)),  # nnU-Net's largest
        ((4000, 3000), (2, 1), (1472, 2912), (1472, 2880)),  # as many pixels, as long as it is wide
    ],
)
def test_patches_begin_with_the_image_and_shrink_to_32(median, spacing, first, second):
    patches = patches_to_try(median, spacing)
    assert patches[0] == first and patches[-1] == (32, 32)
    assert (patches[1] if len(patches) > 1 else None) == second
    assert all(a * b > c * d for (a, b), (c, d) in zip(patches, patches[1:]))


@pytest.mark.parametrize(
    ("memory", "most_pixels", "patch", "batch"),
    [
        (needs(192, 256, 2), 1e9, (192, 256), 2),
        (needs(192, 256, 2) - 1, 1e9, (192, 224), 2),
        (needs(192, 256, 3) - 1, 1e9, (192, 256), 2),
        (needs(192, 256, 77), 1e9, (192, 256), 77),
        (needs(192, 256, 77), 5 * 192 * 256, (192, 256), 5),
        (needs(192, 256, 77), 10, (192, 256), 2),  # two patches whatever the data set
        (needs(32, 32, 3), 1e9, (32, 32), 3),
    ],
)
def test_choice(memory, most_pixels, patch, batch):
    assert choose(patches_to_try((192, 256), (1, 1)), most_pixels, memory, estimate) == (patch, batch)


@pytest.mark.parametrize("most_pixels", [1e4, 1e6, 1e9])
@pytest.mark.parametrize("median", [(192, 256), (573, 765), (40, 300)])
def test_more_memory_never_plans_less(median, most_pixels):
    pixels = []
    for memory in range(needs(32, 32, 2), needs(*median, 9), 50_000):
        patch, batch = choose(patches_to_try(median, (1, 1)), most_pixels, memory, estimate)
        assert estimate(patch, batch) <= memory and batch >= 2
        pixels.append(patch[0] * patch[1] * batch)
    assert pixels == sorted(pixels) and pixels[0] < pixels[-1]


def test_estimates_that_do_not_grow_at_first():
    """What the optimiser takes hides the first images: no division by zero, and the largest batch still."""

    def with_a_floor(patch, batch):
        return max(10**7, estimate(patch, batch))

    assert choose([(64, 64)], 1e9, 10**7, with_a_floor) == ((64, 64), (10**7 - FIXED) // (A_PIXEL * 64 * 64))


def test_too_little_memory_says_what_would_do():
    with pytest.raises(NothingFits) as caught:
        choose(patches_to_try((192, 256), (1, 1)), 1e9, needs(32, 32, 2) - 1, estimate)
    assert caught.value.needed == needs(32, 32, 2) and "32x32, with a batch of 2" in caught.value.what
