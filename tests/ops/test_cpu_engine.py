"""The CPU engine against the definition in float64: outputs, last states and all seven gradients."""

import multiprocessing
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, get_ident, main_thread

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from helpers.scan_definition import definition
from nnunet_mamba.ops import ScanOrders, _cpu_scratch, cpu
from nnunet_mamba.ops.engines import ProjectedInputs, ScanInputs

LAYOUTS = [
    _cpu_scratch.forward_layout(rows=64, states=5, blocks=3, entries=2),
    _cpu_scratch.backward_layout(rows=64, states=5, blocks=3, entries=1),
    _cpu_scratch.projected_backward_layout(rows=64, states=5, entries=2),
]
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


def scan_inputs(batch, directions, channels, groups, states, length, orders=("random",)) -> ScanInputs:
    torch.manual_seed(0)
    tensors = [
        torch.randn(batch, channels, length),
        torch.randn(batch, directions, channels, length) - 2,
        -torch.rand(directions, channels, states) * 4 - 0.1,
        torch.randn(batch, directions, groups, states, length),
        torch.randn(batch, directions, groups, states, length),
        torch.randn(directions, channels),
        torch.randn(directions, channels),
    ]
    walks = ScanOrders(torch.stack([ORDERS[orders[k % len(orders)]](length) for k in range(directions)]))
    return ScanInputs(*tensors, walks.positions, walks.steps)


def filled(inputs: ScanInputs, **values: float) -> ScanInputs:
    return inputs._replace(**{name: torch.full_like(getattr(inputs, name), value) for name, value in values.items()})


def output(inputs: ScanInputs) -> torch.Tensor:
    return cpu.scan_forward(inputs, True, keep=False)[0]


def assert_close(name: str, got: torch.Tensor, wanted: torch.Tensor, tolerance: float) -> None:
    assert got.shape == wanted.shape and got.dtype == torch.float32
    error = (got.double() - wanted).norm() / wanted.norm().clamp_min(1e-30)
    assert error <= tolerance, f"{name}: relative error {error:.1e}"


def compare(inputs: ScanInputs, softplus: bool = True) -> None:
    *tensors, positions, steps = inputs
    exact = [x.double().requires_grad_() for x in tensors]
    wanted, wanted_state = definition(ScanInputs(*exact, positions, steps), softplus)
    grad = torch.randn_like(inputs.u)
    wanted_grads = torch.autograd.grad(wanted, exact, grad.double())
    y, state, checkpoints = cpu.scan_forward(inputs, softplus, keep=True)
    grads = cpu.scan_backward(grad, inputs, softplus, checkpoints)
    assert checkpoints.shape == cpu.checkpoint_shape(inputs.sizes)
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
        (4, 4, 8, 1, 16, 640, ("forward", "columns", "backward", "blocks")),
        (3, 2, 5, 1, 6, 500, ("random", "columns")),
        (2, 4, 1, 1, 20, 270, ("columns", "forward")),
    ],
)
def test_engine_equals_the_definition(batch, directions, channels, groups, states, length, orders, softplus):
    inputs = scan_inputs(batch, directions, channels, groups, states, length, orders)
    if not softplus:
        inputs = inputs._replace(delta=inputs.delta.abs(), delta_bias=inputs.delta_bias.abs())
    compare(inputs, softplus)


@pytest.mark.parametrize("softplus", [True, False])
@pytest.mark.parametrize(
    "batch, directions, channels, states, length, orders",
    [
        (1, 1, 1, 1, 1, ("forward",)),
        (4, 4, 8, 16, 640, ("forward", "columns", "backward", "blocks")),
        (3, 2, 8, 16, 300, ("random", "columns")),
        (3, 2, 5, 6, 500, ("random", "columns")),
        (1, 4, 16, 16, 500, ("columns", "backward")),
        (2, 2, 12, 20, 270, ("random", "forward")),
    ],
)
def test_projected_scan_equals_the_definition(batch, directions, channels, states, length, orders, softplus):
    """Of the weights' products with u, in float64."""
    plain = scan_inputs(batch, directions, channels, 1, states, length, orders)
    weights = [torch.randn(directions, size, channels) / channels for size in (channels, states, states)]
    bias = plain.delta_bias - 2 if softplus else plain.delta_bias.abs() + 1
    if not softplus:
        weights[0] = weights[0].abs()
        plain = plain._replace(u=plain.u.abs())
    inputs = ProjectedInputs(plain.u, *weights, plain.A, plain.D, bias, plain.positions, plain.steps)
    *tensors, positions, steps = inputs
    u, *projections, A, D, bias = exact = [x.double().requires_grad_() for x in tensors]
    delta, B, C = (torch.einsum("kod,bdl->bkol", weight, u) for weight in projections)
    wanted, wanted_state = definition(
        ScanInputs(u, delta, A, B[:, :, None], C[:, :, None], D, bias, positions, steps), softplus
    )
    grad = torch.randn_like(inputs.u)
    wanted_grads = torch.autograd.grad(wanted, exact, grad.double())
    y, state, checkpoints = cpu.projected_scan_forward(inputs, softplus, keep=True)
    grads = cpu.projected_scan_backward(grad, inputs, softplus, checkpoints)
    assert checkpoints.shape == cpu.checkpoint_shape(inputs.sizes)
    assert_close("y", y, wanted.detach(), 1e-5)
    assert_close("last state", state, wanted_state.detach(), 1e-5)
    for name, got, exactly in zip(ProjectedInputs._fields, grads, wanted_grads, strict=False):
        assert_close(f"gradient of {name}", got, exactly, 1e-4)


@pytest.fixture(params=["torch's threads", "Python's threads"])
def team(request, monkeypatch):
    """Whose threads share the work. After a fork, or if torch's OpenMP cannot be reached, they are Python's."""
    if request.param == "Python's threads":
        monkeypatch.setattr(cpu, "_forked", True)
    elif cpu._openmp() is None:
        pytest.skip("torch has no OpenMP here, or not GNU's")


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch, channels", [(1, 16), (1, 40), (2, 16), (3, 16)])
def test_threads_agree(batch, channels, threads, team, three_threads):
    inputs = scan_inputs(batch, 3, channels, 1, 16, 300, ("forward", "columns", "random"))
    torch.set_num_threads(threads)
    compare(inputs)


def test_every_thread_takes_work(team, three_threads):
    """Each thread waits for the two others, so no thread can take two of the three items."""
    together = Barrier(3)
    scratch = []

    def run(item, own):
        together.wait(timeout=60)
        scratch.append((get_ident(), own.state.ctypes.data))

    cpu.share(run, [(0,), (1,), (2,)], LAYOUTS[0])
    threads, addresses = zip(*scratch)
    assert len(set(threads)) == len(set(addresses)) == 3


def test_an_error_in_any_thread_is_raised(team, three_threads):
    together = Barrier(3)

    def run(item, own):
        together.wait(timeout=60)
        if get_ident() != main_thread().ident:
            raise MemoryError("as a kernel might")

    with pytest.raises(MemoryError, match="as a kernel might"):
        cpu.share(run, [(0,), (1,), (2,)], LAYOUTS[0])


def test_scans_at_the_same_time(team):
    """Two threads of a program, each with a scan of its own: they share neither scratch memory nor counters."""
    cases = [scan_inputs(2, 2, 24, 1, 16, length, ("forward", "columns")) for length in (300, 700)]
    alone = [output(inputs) for inputs in cases]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            at_once = list(pool.map(output, cases))
            assert all(torch.equal(a, b) for a, b in zip(at_once, alone))


@pytest.mark.parametrize("delta", [1e-6, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("A", [-1e-4, -1.0, -1e4, 0.0])
def test_extreme_decays(delta, A):
    compare(filled(scan_inputs(1, 1, 16, 1, 4, 300), delta=delta, A=A, delta_bias=0), softplus=False)


def test_positive_A_grows():
    compare(filled(scan_inputs(1, 1, 16, 1, 4, 50), delta=0.5, A=2, delta_bias=0), softplus=False)  # up to e^50


@pytest.mark.parametrize("delta", [-80.0, -15.0, 0.0, 15.0, 25.0, 80.0])
def test_softplus_keeps_its_digits(delta):
    compare(filled(scan_inputs(1, 1, 16, 1, 1, 3, ("forward",)), delta=delta, D=0, delta_bias=0))


def test_zeros_stay_zeros():
    inputs = filled(scan_inputs(1, 1, 16, 1, 16, 100), u=0)
    y, _, checkpoints = cpu.scan_forward(inputs, True, keep=True)
    grads = cpu.scan_backward(torch.zeros_like(y), inputs, True, checkpoints)
    assert not y.any() and not any(x.any() for x in grads)


def test_denormals_are_back_after_a_scan():
    output(scan_inputs(1, 1, 16, 1, 16, 100))
    assert (torch.full((1,), 1e-20) * 1e-20).item() > 0


@pytest.mark.parametrize("method", sorted({"fork", "spawn"} & set(multiprocessing.get_all_start_methods())))
def test_child_processes_scan(method):
    """Like nnU-Net's workers: forked from a process whose threads have scanned before, or spawned."""
    inputs = scan_inputs(2, 2, 16, 1, 16, 100)
    wanted = output(inputs)
    with multiprocessing.get_context(method).Pool(1) as pool:
        got = pool.apply_async(cpu.scan_forward, (inputs, True, True)).get(timeout=120)[0]
    assert torch.equal(got, wanted)


@pytest.mark.parametrize("start", range(4))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_scratch_arrays_are_apart_aligned_and_as_long_as_the_layout_says(layout, start):
    total = _cpu_scratch.total(layout)
    memory = np.zeros(total + start, np.float32)[start:]
    scratch = _cpu_scratch.carve(memory, layout)
    for i, array in enumerate(scratch):
        assert len(array) == layout[i] and (not len(array) or array.ctypes.data % 64 == 0)
        assert not array.any()  # no array before has written here
        array[:] = i + 1
    assert np.count_nonzero(memory) == sum(layout)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scratch_memory_that_is_too_short_is_refused(layout):
    fits = sum(_cpu_scratch.round_up(size, 16) for size in layout)
    with pytest.raises(
        ValueError, match=f"scratch memory: got {fits - 1} float32, wanted {_cpu_scratch.total(layout)}"
    ):
        _cpu_scratch.carve(np.zeros(fits - 1, np.float32), layout)


def test_import_is_light():
    code = "import sys, nnunet_mamba.ops.cpu; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
