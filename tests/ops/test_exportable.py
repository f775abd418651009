"""The scan as exporters get it, in chunks and in steps, equals the reference; tests/export runs the exporters."""

import pytest
import torch

pytest.importorskip("numba")

from nnunet_mamba.ops import cross_scan_orders, exportable, projected_scan
from nnunet_mamba.ops.scan_orders import known_walks

STATES = 5


def loop(step, state, sequences):
    """What torch's own loop computes; that one compiles its step, for seconds."""
    several = isinstance(sequences, tuple)
    outputs = []
    for now in zip(*sequences) if several else sequences:
        state, output = step(state, now)
        outputs.append(output)
    stacked = [torch.stack(column) for column in zip(*outputs)] if isinstance(outputs[0], tuple) else None
    return state, tuple(stacked) if stacked else torch.stack(outputs)


@pytest.mark.parametrize(
    ("channels", "height", "width", "states_per_step", "chunks"),
    [
        (8, 7, 9, 8 * 4 * STATES * 5, 5),  # chunks of 13 steps, the last one shorter
        (31, 6, 10, 31 * 4 * STATES * 3, 3),
        (4, 5, 5, 2**17, 9),  # not more than twice as many chunks as steps
        (4, 7, 9, 1, 1),
        (32, 7, 9, 2**17, None),  # in steps
    ],
)
def test_equals_the_reference(channels, height, width, states_per_step, chunks, monkeypatch):
    monkeypatch.setattr(exportable, "_loop", loop)
    monkeypatch.setattr(exportable, "STATES_PER_STEP", states_per_step)
    used = []
    plan = exportable._steps_and_chunks
    monkeypatch.setattr(exportable, "_steps_and_chunks", lambda *sizes: used.append(plan(*sizes)) or used[0])
    rank, length = 2, height * width
    u, x_proj, dt_proj = (
        torch.randn(3, channels, length),
        torch.randn(4, rank + 2 * STATES, channels),
        torch.randn(4, channels, rank),
    )
    A, D, bias = -torch.rand(4, channels, STATES) - 0.1, torch.randn(4, channels), torch.randn(4, channels) - 4
    x_proj = x_proj / channels
    orders = cross_scan_orders(height, width, torch.device("cpu"))
    dt_weight, B_weight, C_weight = x_proj.split([rank, STATES, STATES], dim=1)
    got = exportable.projected_scan(u, dt_weight, dt_proj, B_weight, C_weight, A, D, bias, orders)
    exact = [x.double() for x in (u, x_proj, dt_proj, A, D, bias)]
    wanted = projected_scan(*exact, orders, engine="reference")
    assert [number for _, number in used] == ([] if chunks is None else [chunks])
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=2e-6)


def test_a_small_softplus_keeps_its_digits():
    x = torch.cat([torch.linspace(-16, 40, 999), torch.tensor([-200.0, 200.0])])
    wanted = torch.nn.functional.softplus(x.double(), threshold=1e9)
    torch.testing.assert_close(exportable._softplus(x).double(), wanted, rtol=5e-7, atol=1e-30)


def test_walks_are_known_only_of_maps_that_were_seen():
    cross_scan_orders(3, 5, torch.device("cpu"))
    with known_walks():
        assert cross_scan_orders(3, 5, torch.device("cpu")).positions.shape == (4, 15)
        with pytest.raises(RuntimeError, match=r"got cross_scan_orders\(3, 7, .*wanted a network that has run on maps"):
            cross_scan_orders(3, 7, torch.device("cpu"))
