"""The plateau schedule: a function of the logged Dice only."""

import pytest
import torch

from nnunet_mamba.trainers.plateau import PlateauOfHistory


def rate_at(history, epoch, patience=5):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=123.0)
    PlateauOfHistory(optimizer, 1e-3, lambda: history, factor=0.5, patience=patience).step(epoch)
    return optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize(
    ("history", "rate"),
    [
        ([], 1e-3),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], 1e-3),
        ([0.5] * 6, 1e-3),  # a best and five epochs without a better one
        ([0.5] * 7, 5e-4),
        ([0.5] * 13, 2.5e-4),
        ([0.5] * 6 + [0.6] * 6, 1e-3),  # risen in time
        ([float("nan")] * 6, 5e-4),
    ],
    ids=range(7),
)
def test_rate_after(history, rate):
    assert rate_at(history, len(history)) == pytest.approx(rate)


def test_a_later_history_does_not_change_an_earlier_rate():
    """A training that goes on from epoch 5 of a longer log has the rate of epoch 5."""
    assert rate_at([0.5] * 40, 5) == 1e-3
