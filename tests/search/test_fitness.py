"""Tiles, counts and means."""

import numpy as np
import pytest
import torch

from nnunet_mamba.networks import SliceMambaSupernet
from nnunet_mamba.search.cases import search_cases
from nnunet_mamba.search.fitness import Tile, count, fitness_of, tiles_of
from nnunet_mamba.search.judge import Judge
from nnunet_mamba.search.supernet import TrainedSupernet

PATCH = (32, 48)


@pytest.mark.parametrize("shape", [(1, 32, 48), (1, 20, 30), (2, 33, 48), (1, 100, 49), (3, 64, 96)], ids=str)
def test_tiles_count_each_pixel_once(shape):
    generator = np.random.default_rng(0)
    labels = generator.integers(-1, 4, shape)
    image = generator.normal(size=(2, *shape)).astype(np.float32)
    tiles = tiles_of(5, image, labels, PATCH, [1, (2, 3)], ignore_label=3)
    assert all(tile.case == 5 and tile.image.shape == (2, *PATCH) for tile in tiles)
    assert sum(tile.counted.sum() for tile in tiles) == (labels != 3).sum()
    for number, classes in enumerate(([1], [2])):  # the ignored 3 is not counted
        assert sum((tile.truth[number] & tile.counted[0]).sum() for tile in tiles) == np.isin(labels, classes).sum()
    seen = sum((tile.image * tile.counted).sum(dtype=np.float64) for tile in tiles)
    assert seen == pytest.approx((image * (labels != 3)).sum(dtype=np.float64), abs=1e-3)


@pytest.mark.parametrize("regions", [False, True])
def test_counts_follow_the_definition(regions):
    torch.manual_seed(0)
    logits, truth = torch.randn(2, 3, 8, 8), torch.rand(2, 3 - (not regions), 8, 8) > 0.5
    counted = torch.rand(2, 1, 8, 8) > 0.2
    counts = count(logits, truth, counted, regions)
    for image in range(2):
        for number in range(truth.shape[1]):
            predicted = logits[image, number] > 0 if regions else logits[image].argmax(0) == number + 1
            seen, wanted = predicted[counted[image, 0]], truth[image, number][counted[image, 0]]
            assert counts[image, number].tolist() == [
                (seen & wanted).sum(),
                (seen & ~wanted).sum(),
                (~seen & wanted).sum(),
            ]


def test_means_are_over_what_occurs():
    counts = torch.tensor([[[2, 2, 0], [0, 0, 0]], [[0, 0, 4], [3, 0, 0]]])
    fitness = fitness_of(counts)
    assert fitness.mean_iou == pytest.approx((0.5 + 0 + 1) / 3)
    assert fitness.mean_dice == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert fitness.value == pytest.approx((fitness.mean_iou + fitness.mean_dice) / 2)


def supernet(generator):
    torch.manual_seed(0)
    network = SliceMambaSupernet(1, 2, dims=(8, 16), depths=(1, 2), depths_decoder=(2, 1)).eval()
    tiles = []
    for case in (0, 0, 1, 2, 2):
        truth = generator.random((1, *PATCH)) > 0.5
        tiles.append(
            Tile(case, generator.normal(size=(1, *PATCH)).astype(np.float32), truth, np.ones((1, *PATCH), bool))
        )
    return TrainedSupernet(
        network=network,
        cases=["a", "b", "c"],
        tiles=tiles,
        classes=1,
        regions=False,
        batch_size=2,
        digest="digest",
    )


@pytest.mark.parametrize("kept_bytes", [0, 2e5, 1e9])
@pytest.mark.parametrize("batch_size", [2, 5])
def test_the_judge_agrees_with_the_network(kept_bytes, batch_size):
    """For any batch size, and however many maps are kept from the candidate before."""
    trained = supernet(np.random.default_rng(0))
    judge = Judge(trained, torch.device("cpu"), batch_size, kept_bytes)
    for path in ([0, 1, 2, 3, 0, 1], [0, 1, 2, 3, 0, 2], [0, 1, 2, 3, 0, 2], [1, 1, 2, 3, 0, 2], [1, 1, 2, 0, 0, 0]):
        counts = torch.zeros(3, 1, 3)
        trained.network.set_path(path)
        for tile in trained.tiles:
            with torch.no_grad():
                logits = trained.network(torch.from_numpy(tile.image)[None])
            counts[tile.case] += count(
                logits, torch.from_numpy(tile.truth)[None], torch.from_numpy(tile.counted)[None], False
            )[0]
        assert judge(path) == pytest.approx(fitness_of(counts))
    computed = {0: 30, 1e9: 6 + 1 + 0 + 6 + 3}.get(kept_bytes)
    if computed is not None:
        assert judge.computed_blocks == computed * len(judge.batches)


FOLDS = [
    {"train": ["c", "d", "e", "f"], "val": ["a", "b"]},
    {"train": ["a", "b", "e", "f"], "val": ["c", "d"]},
    {"train": ["a", "b", "c", "d"], "val": ["e", "f"]},
]


@pytest.mark.parametrize(
    ("splits", "fold", "training", "kept"),
    [
        (FOLDS, 0, "cdef", "cd"),
        (FOLDS, 2, "abcd", "ab"),
        (FOLDS[:1], 0, "cdefghijkl", 2),  # no other fold
        ([FOLDS[0], {"train": ["x"], "val": ["c", "d", "e", "f"]}], 0, "cdef", 1),  # nothing would be left to train on
        ([], "all", "abcdefghij", 2),
        (FOLDS, 7, "abcdefghij", 2),  # nnU-Net's random fold
    ],
    ids=range(6),
)
def test_search_cases_come_from_the_training_and_leave_some(splits, fold, training, kept):
    found = search_cases(splits, fold, list(training))
    assert set(found) < set(training)
    assert found == sorted(kept) if isinstance(kept, str) else len(found) == kept
    assert found == search_cases(splits, fold, list(reversed(training)))


def test_one_training_case_is_too_few():
    with pytest.raises(ValueError, match="got 1 training cases in fold 0, wanted at least 2"):
        search_cases([], 0, ["a"])
