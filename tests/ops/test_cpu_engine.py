"""The CPU engine against the definition in float64: outputs, last states and all seven gradients."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, get_ident, main_thread

import pytest
import torch

pytest.importorskip("numba")

from helpers.scan_definition import definition
from nnunet_mamba.ops import cpu

GRADIENTS = ("u", "delta", "A", "B", "C", "D", "delta_bias")


def columns(length: int) -> torch.Tensor:
    """Column-major through the most nearly square map of this many positions."""
    height = max(h for h in range(1, int(length**0.5) + 1) if length % h == 0)
    return torch.arange(length).view(height, -1).t().reshape(-1)


ORDERS = {
    "forward": torch.arange,
    "backward": lambda length: torch.arange(length).flip(0),
    "columns": columns,
    "random": torch.randperm,
    "blocks": lambda length: torch.arange(length).view(-1, 8).flip(1).reshape(-1),
}


def arguments(batch, directions, channels, groups, states, length, orders=("random",)) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [
        torch.randn(batch, channels, length),
        torch.randn(batch, directions, channels, length) - 2,
        -torch.rand(directions, channels, states) * 4 - 0.1,
        torch.randn(batch, directions, groups, states, length),
        torch.randn(batch, directions, groups, states, length),
        torch.randn(directions, channels),
        torch.randn(directions, channels),
        torch.stack([ORDERS[orders[k % len(orders)]](length) for k in range(directions)]),
    ]


def assert_close(name: str, got: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> None:
    assert got.shape == wanted.shape and got.dtype == torch.float32
    error = (got.double() - wanted).norm() / wanted.norm().clamp_min(1e-30)
    assert error <= tolerance, f"{name}: relative error {error:.1e}"


def compare(tensors: list[torch.Tensor], softplus: bool = True) -> None:
    *inputs, orders = tensors
    exact = [x.double().requires_grad_() for x in inputs]
    wanted, wanted_state = definition(*exact, orders, softplus)
    grad = torch.randn_like(inputs[0])
    wanted_grads = torch.autograd.grad(wanted, exact, grad.double())
    y, state, checkpoints = cpu.scan_forward(*inputs, orders, softplus)
    grads = cpu.scan_backward(grad, *inputs, orders, softplus, checkpoints)
    directions, channels, states = inputs[2].shape
    assert checkpoints.shape == cpu.checkpoint_shape(len(y), directions, channels, states, y.shape[2])
    assert_close("y", y, wanted.detach(), 1e-5)
    assert_close("last state", state, wanted_state.detach(), 1e-5)
    for name, got, exactly in zip(GRADIENTS, grads, wanted_grads, strict=True):
        assert_close(f"gradient of {name}", got, exactly, 1e-4)


@pytest.mark.parametrize("softplus", [True, False])
@pytest.mark.parametrize(
    "batch, directions, channels, groups, states, length, orders",
    [
        (2, 1, 1, 1, 1, 1, ("forward",)),
        (1, 1, 8, 1, 16, 2, ("backward",)),
        (2, 2, 16, 1, 16, 63, ("random",)),
        (1, 4, 24, 1, 8, 500, ("forward", "columns", "backward", "random")),
        (2, 2, 24, 3, 16, 500, ("backward", "columns")),
        (1, 1, 8, 1, 16, 500, ("columns",)),
        (2, 3, 40, 2, 20, 150, ("random", "forward", "columns")),
        (1, 1, 768, 1, 16, 63, ("random",)),
        (1, 2, 16, 1, 16, 640, ("forward", "blocks")),
        (1, 2, 16, 1, 5, 700, ("backward", "columns")),
        (3, 1, 33, 1, 1, 270, ("random",)),
    ],
)
def test_engine_equals_the_definition(batch, directions, channels, groups, states, length, orders, softplus):
    tensors = arguments(batch, directions, channels, groups, states, length, orders)
    if not softplus:
        tensors[1], tensors[6] = tensors[1].abs(), tensors[6].abs()
    compare(tensors, softplus)


@pytest.fixture(params=["torch's threads", "Python's threads"])
def team(request, monkeypatch):
    """Whose threads share the work: after a fork, and where torch's OpenMP cannot be reached, Python's."""
    if request.param == "Python's threads":
        monkeypatch.setattr(cpu, "_forked", True)
    elif cpu._openmp() is None:
        pytest.skip("torch has another OpenMP than GNU's here, or none")


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch, channels", [(1, 16), (1, 40), (2, 16), (3, 16)])
def test_threads_agree(batch, channels, threads, team, three_threads):
    tensors = arguments(batch, 3, channels, 1, 16, 300, ("forward", "columns", "random"))
    torch.set_num_threads(threads)
    compare(tensors)


def test_every_thread_takes_work(team, three_threads):
    """Each waits for the two others: none of the three items is done by a thread that did another."""
    together = Barrier(3)
    scratch = []

    def run(item, own):
        together.wait(timeout=60)
        scratch.append((get_ident(), own.ctypes.data, len(own)))

    cpu._share(run, [(0,), (1,), (2,)], 100)
    threads, places, sizes = zip(*scratch)
    assert len(set(threads)) == len(set(places)) == 3 and min(sizes) >= 100


def test_an_error_in_any_thread_is_raised(team, three_threads):
    together = Barrier(3)

    def run(item, own):
        together.wait(timeout=60)
        if get_ident() != main_thread().ident:
            raise MemoryError("as a kernel might")

    with pytest.raises(MemoryError, match="as a kernel might"):
        cpu._share(run, [(0,), (1,), (2,)], 100)


def test_scans_at_the_same_time(team):
    """Two threads of a program, each with a scan of its own: they share neither scratch memory nor counters."""
    cases = [arguments(2, 2, 24, 1, 16, length, ("forward", "columns")) for length in (300, 700)]
    alone = [cpu.scan_forward(*tensors, True)[0] for tensors in cases]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            at_once = list(pool.map(lambda tensors: cpu.scan_forward(*tensors, True)[0], cases))
            assert all(torch.equal(a, b) for a, b in zip(at_once, alone))


@pytest.mark.parametrize("delta", [1e-6, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("A", [-1e-4, -1.0, -1e4, 0.0])
def test_extreme_decays(delta, A):
    tensors = arguments(1, 1, 16, 1, 4, 300)
    tensors[1].fill_(delta)
    tensors[2].fill_(A)
    tensors[6].zero_()
    compare(tensors, softplus=False)


def test_positive_A_grows():
    tensors = arguments(1, 1, 16, 1, 4, 50)
    tensors[1].fill_(0.5)
    tensors[2].fill_(2.0)
    tensors[6].zero_()
    compare(tensors, softplus=False)  # up to e^50


@pytest.mark.parametrize("delta", [-80.0, -15.0, 0.0, 15.0, 25.0, 80.0])
def test_softplus_keeps_its_digits(delta):
    tensors = arguments(1, 1, 16, 1, 1, 3, ("forward",))
    tensors[1].fill_(delta)
    tensors[5].zero_()
    tensors[6].zero_()
    compare(tensors)


def test_zeros_stay_zeros():
    tensors = arguments(1, 1, 16, 1, 16, 100)
    tensors[0].zero_()
    y, _, checkpoints = cpu.scan_forward(*tensors, True)
    grads = cpu.scan_backward(torch.zeros_like(y), *tensors, True, checkpoints)
    assert not y.any() and not any(x.any() for x in grads)


def test_denormals_are_back_after_a_scan():
    cpu.scan_forward(*arguments(1, 1, 16, 1, 16, 100), True)
    assert (torch.full((1,), 1e-20) * 1e-20).item() > 0


@pytest.mark.parametrize("method", sorted({"fork", "spawn"} & set(multiprocessing.get_all_start_methods())))
def test_child_processes_scan(method):
    """As nnU-Net's workers are: forked from a process whose threads have scanned before, or spawned."""
    inputs = (*arguments(2, 2, 16, 1, 16, 100), True)
    wanted = cpu.scan_forward(*inputs)[0]
    with multiprocessing.get_context(method).Pool(1) as pool:
        got = pool.apply_async(cpu.scan_forward, inputs).get(timeout=120)[0]
    assert torch.equal(got, wanted)


def test_import_is_light():
    code = "import sys, nnunet_mamba.ops.cpu; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
