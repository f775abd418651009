"""Multiply-adds worked out by hand, of toys and of our networks; what fvcore leaves out."""

import pytest
import torch
from torch import nn

from helpers.multiply_adds import multiply_adds
from nnunet_mamba import catalogue
from nnunet_mamba.blocks.ss2d import SS2D
from nnunet_mamba.costs.arithmetic import count, count_network, keeps_size
from nnunet_mamba.costs.subject import subject_of_patch


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, stride=2, groups=2)])
        self.head = nn.Sequential(nn.Linear(4, 2))

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        y = self.head(x.flatten(2).transpose(1, 2))  # (1, 9, 2)
        return y @ y.transpose(1, 2)


def test_a_toy_layer_by_layer():
    """8 x 8 pixels, 3 -> 4 channels by 3 x 3; 3 x 3 outputs of 2 inputs each; 9 rows of 4 x 2; 9 x 2 x 9."""
    counted = count_network(Toy(), torch.zeros(1, 3, 8, 8))
    by_name = {layer.name: layer for layer in counted.layers}
    assert {name: layer.multiply_adds for name, layer in by_name.items()} == {
        "Toy": 9 * 2 * 9,
        "parts.0": 64 * 4 * 27,
        "parts.1": 9 * 4 * 18,
        "head.0": 9 * 4 * 2,
    }
    assert counted.multiply_adds == sum(layer.multiply_adds for layer in counted.layers)
    assert by_name["parts.0"].parameters == 4 * 27 + 4 and counted.scan == 0
    assert counted.of_same_convolutions == 64 * 4 * 27


def test_the_scan_by_hand():
    """SS2D with 8 channels, 16 inside, 4 states, on 5 x 6: 4 directions x 16 x 30 x (4 x 4 + 2)."""
    counted = count_network(SS2D(8, d_state=4), torch.zeros(1, 5, 6, 8))
    assert counted.scan == 4 * 16 * 30 * 18
    # in 8 -> 32, depthwise 3 x 3, per direction 16 -> 1 + 4 + 4 and 1 -> 16, out 16 -> 8
    assert counted.multiply_adds == 30 * (8 * 32 + 16 * 9 + 4 * (16 * 9 + 16) + 16 * 8)
    assert counted.of_same_convolutions == 0  # VMamba writes padding=1


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(1, 1, 3, padding=1), True),
        (nn.Conv2d(1, 1, 3, padding="same"), True),
        (nn.Conv2d(1, 1, 5, padding=4, dilation=2), True),
        (nn.Conv3d(1, 1, (1, 3, 3), padding=(0, 1, 1)), True),
        (nn.Conv2d(1, 1, 3), False),
        (nn.Conv2d(1, 1, 3, padding="valid"), False),
        (nn.Conv2d(1, 1, 3, padding=1, stride=2), False),
        (nn.Conv2d(1, 1, 1), False),
        (nn.Linear(1, 1), False),
    ],
)
def test_convolutions_that_keep_the_size(layer, expected):
    assert keeps_size(layer) is expected


@pytest.mark.parametrize(
    ("key", "multiply_adds_in_readme", "scan_in_readme"), [("da_mambanet", 3.92, 0.80), ("dermomamba", 3.78, 0.61)]
)
def test_our_networks(key, multiply_adds_in_readme, scan_in_readme):
    """The catalogue's figure is of convolutions and linear layers; the products inside the scan's projections add."""
    entry = catalogue.network(key)
    subject = subject_of_patch(entry.trainer, (192, 256), channels=3, classes=1, batch=1)
    counted = count(subject)
    assert counted.parameters == entry.parameters
    figures = round(counted.multiply_adds / 1e9, 2), round(counted.scan / 1e9, 2)
    assert figures == (multiply_adds_in_readme, scan_in_readme)
    assert entry.multiply_adds == multiply_adds(subject.build(training=False), 1, 3, 192, 256)
    assert 0 < counted.multiply_adds - entry.multiply_adds < 0.2 * entry.multiply_adds
    assert counted.multiply_adds == pytest.approx(entry.by_torch, rel=0.05)
    # what fvcore leaves out explains its figure, but for normalizations, which it counts
    assert counted.multiply_adds - counted.of_same_convolutions == pytest.approx(entry.by_fvcore, rel=0.2)


def test_fvcore_leaves_out_padding_same():
    analysis = pytest.importorskip("fvcore.nn").FlopCountAnalysis
    seen = {}
    for padding in (1, "same"):
        counter = analysis(nn.Conv2d(3, 4, 3, padding=padding, bias=False), torch.zeros(1, 3, 8, 8))
        counter.unsupported_ops_warnings(False)
        seen[padding] = counter.total()
    assert seen == {1: 64 * 4 * 27, "same": 0}
