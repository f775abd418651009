"""What the GPU engines do around their kernels, tested without a GPU."""

import inspect
import os
import subprocess
import sys
import time
import types

import pytest
import torch

from helpers.scan_definition import definition
from nnunet_mamba.ops import ScanOrders, contest, cpu, engines, reference, scan, torch_engine
from nnunet_mamba.ops.engines import ScanInputs

KERNELS = ("_add_up", "_carry", "_outputs", "_add_up_adjoints", "_gradients")
COMPILE = """
import sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from nnunet_mamba.ops import triton_engine

constants = dict(STATES=16, CHUNK=4, BLOCK_C=8, BLOCK_N=16, SOFTPLUS=True, BLOCK_J=64, REVERSE=True)
kernel = getattr(triton_engine, sys.argv[1])
kinds = {"orders": "*i64"} | {name: "i32" for name in ("batch", "directions", "channels", "groups", "length", "chunks")}
signature = {name: "constexpr" if name in constants else kinds.get(name, "*fp32") for name in kernel.arg_names}
source = ASTSource(kernel, signature, {name: constants[name] for name in kernel.arg_names if name in constants})
for capability in (80, 90):
    binary = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 1})
    assert binary.asm["cubin"]
"""


@pytest.mark.parametrize("kernel", KERNELS)
def test_triton_kernels_compile_for_gpus(kernel, tmp_path):
    """The interpreter accepts more than the compiler. An unrolled chunk of 4 steps stands for one of 16."""
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", COMPILE, kernel]
    done = subprocess.run(
        command, env=environment | {"TRITON_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True
    )
    if "cannot find" in done.stderr.lower() and "ptxas" in done.stderr.lower():
        pytest.skip("this Triton has no assembler")
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.skipif(torch.cuda.is_available(), reason="tests/ops/test_scan.py has long sequences on a GPU")
def test_triton_carries_the_state_over_many_blocks_of_chunks(monkeypatch):
    """The interpreter is too slow for sequences that need a second block of the usual size."""
    triton_engine = pytest.importorskip("nnunet_mamba.ops.triton_engine")
    monkeypatch.setattr(triton_engine, "CHUNKS_AT_A_TIME", 2)
    shape = (1, 1, 3, 3, 5 * triton_engine.CHUNK + 3)
    got, wanted = (contest._run(engine, contest._inputs(shape, "cpu")) for engine in (triton_engine, torch_engine))
    for ours, theirs in zip(got, wanted, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * theirs.norm()


def fake_cuda_kernel() -> types.ModuleType:
    """The definition under the signatures of mamba-ssm's compiled module. Sequences come in visiting order."""
    module = types.ModuleType("selective_scan_cuda")

    def compute(u, delta, A, B, C, D, bias, softplus):
        order = torch.arange(u.shape[2])[None]
        tensors = u, delta[:, None], A[None], B[:, None], C[:, None], D[None], bias[None]
        y, state = definition(ScanInputs(*tensors, order, order), softplus)
        return y, state[:, 0]

    def fwd(u, delta, A, B, C, D, z, bias, softplus):
        assert z is None and all(x.is_contiguous() for x in (u, delta, B, C))
        y, state = compute(u, delta, A, B, C, D, bias, softplus)
        checkpoints = torch.zeros(*u.shape[:2], -(-u.shape[2] // 2048), 2 * A.shape[1])
        checkpoints[:, :, -1, 1::2] = state
        return y, checkpoints

    def bwd(u, delta, A, B, C, D, z, bias, dout, checkpoints, out, dz, softplus, recompute):
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in (u, delta, A, B, C, D, bias)]
            y, _ = compute(*leaves, softplus)
        return torch.autograd.grad(y, leaves, dout)

    module.fwd, module.bwd = fwd, bwd
    return module


@pytest.fixture
def mamba_ssm_engine(monkeypatch):
    monkeypatch.setitem(sys.modules, "selective_scan_cuda", fake_cuda_kernel())
    monkeypatch.delitem(sys.modules, "nnunet_mamba.ops.mamba_ssm_engine", raising=False)
    from nnunet_mamba.ops import mamba_ssm_engine

    yield mamba_ssm_engine
    sys.modules.pop("nnunet_mamba.ops.mamba_ssm_engine", None)


@pytest.mark.parametrize("groups", [1, 2])
def test_mamba_ssm_is_fed_in_visiting_order(mamba_ssm_engine, groups):
    torch.manual_seed(0)
    directions, channels, states, length = 3, 4, 5, 12
    leaves = [
        torch.randn(2, channels, length),
        torch.randn(2, directions, channels, length),
        -torch.rand(directions, channels, states),
        torch.randn(2, directions, groups, states, length),
        torch.randn(2, directions, groups, states, length),
        torch.randn(directions, channels),
        torch.randn(directions, channels),
    ]
    orders = ScanOrders(torch.stack([torch.randperm(length) for _ in range(directions)]))
    leaves = [x.requires_grad_() for x in leaves]
    inputs = ScanInputs(*leaves, orders.positions, orders.steps)
    wanted, wanted_state = reference.scan(inputs, True)
    cotangent = torch.randn_like(wanted)
    wanted_grads = torch.autograd.grad(wanted, leaves, cotangent)
    with torch.no_grad():
        got, state, checkpoints = mamba_ssm_engine.scan_forward(inputs, True, keep=True)
        grads = mamba_ssm_engine.scan_backward(cotangent, inputs, True, checkpoints)
    assert tuple(checkpoints.shape) == mamba_ssm_engine.checkpoint_shape(inputs.sizes)
    torch.testing.assert_close((got, state, grads), (wanted, wanted_state, wanted_grads), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("installed", "working", "winner", "wanted"),
    [
        ((), (), None, "torch"),
        (("triton",), ("triton",), None, "triton"),
        (("triton",), (), None, "torch"),
        (("triton", "selective_scan_cuda"), ("triton",), None, "triton"),
        (("triton", "selective_scan_cuda"), ("mamba_ssm",), None, "mamba_ssm"),
        (("triton", "selective_scan_cuda"), ("triton", "mamba_ssm"), "triton", "triton"),
        (("triton", "selective_scan_cuda"), ("triton", "mamba_ssm"), "mamba_ssm", "mamba_ssm"),
    ],
)
def test_the_default_on_cuda_is_the_fastest_that_works(monkeypatch, installed, working, winner, wanted):
    monkeypatch.delenv(engines.VARIABLE, raising=False)
    monkeypatch.setattr(engines, "find_spec", lambda name: name in installed or None)
    monkeypatch.setattr(contest, "works", lambda name: name in working)
    monkeypatch.setattr(contest, "faster", lambda *names: winner)
    engines._best_on_cuda.cache_clear()
    try:
        assert engines.engine_for("cuda", torch.float32) == wanted
        assert engines.engine_for("cuda", torch.float64) == "torch"
    finally:
        engines._best_on_cuda.cache_clear()


def test_the_choice_on_cuda_breaks_no_graph(monkeypatch):
    """torch.compile may trace the first scan, when the choice is made: by running engines, which it must not trace."""
    monkeypatch.delenv(engines.VARIABLE, raising=False)
    monkeypatch.setattr(engines, "_default", lambda device, dtype: engines._default_on_cuda())
    monkeypatch.setattr(engines, "find_spec", lambda name: engines.import_module("json") and None)  # cannot be traced
    engines._best_on_cuda.cache_clear()
    u, rate, steering = torch.randn(1, 4, 6), -torch.ones(4, 2), torch.randn(1, 2, 6)
    try:
        compiled = torch.compile(scan.selective_scan, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(
            compiled(u, u, rate, steering, steering), scan.selective_scan(u, u, rate, steering, steering)
        )
    finally:
        engines._best_on_cuda.cache_clear()


@pytest.fixture
def wrong_engine(monkeypatch):
    """An engine named "wrong": the torch engine, with its gradients changed by `spoil`."""

    def install(spoil):
        from nnunet_mamba.ops import torch_engine

        module = types.ModuleType("wrong_engine")
        module.scan_forward = torch_engine.scan_forward
        module.scan_backward = lambda *arguments: spoil(*torch_engine.scan_backward(*arguments))
        monkeypatch.setitem(sys.modules, "wrong_engine", module)
        monkeypatch.setitem(engines.ENGINES, "wrong", engines.EngineRow("wrong_engine", None, True))
        contest.works.cache_clear()

    return install


def refuse(*gradients):
    raise RuntimeError("no kernel image is available\nfor execution on the device")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda *gradients: gradients, None),
        (lambda du, *others: (1.01 * du, *others), "is off by 1.0e-02 here"),
        (lambda du, *others: (float("nan") * du, *others), "is off by nan here"),
        (refuse, r"does not run here (no kernel image is available): using another"),
    ],
    ids=["right", "wrong", "not finite", "fails"],
)
def test_an_engine_that_is_wrong_here_is_left_out(wrong_engine, caplog, spoil, message):
    wrong_engine(spoil)
    assert contest.works("wrong", "cpu") == (message is None)
    assert (message in caplog.text) if message else not caplog.text


def test_the_contest_is_won_by_the_faster_engine(monkeypatch):
    def slow_forward(*arguments, **options):
        time.sleep(0.3)
        return cpu.scan_forward(*arguments, **options)

    slow = types.SimpleNamespace(scan_forward=slow_forward, scan_backward=cpu.scan_backward)
    monkeypatch.setattr(contest, "load_engine", {"slow": slow, "fast": cpu}.__getitem__)
    monkeypatch.setattr(contest, "TYPICAL", (1, 1, 16, 16, 256))
    assert contest.faster("slow", "fast", "cpu") == contest.faster("fast", "slow", "cpu") == "fast"


@pytest.mark.parametrize("name", engines.ENGINES)
def test_every_engine_has_the_functions_of_the_protocol(monkeypatch, name):
    if name == "triton":
        pytest.importorskip("triton")
    if name == "mamba_ssm":
        monkeypatch.setitem(sys.modules, "selective_scan_cuda", fake_cuda_kernel())
        monkeypatch.delitem(sys.modules, engines.ENGINES[name].module, raising=False)
    module = engines.load_engine(name)
    for function in ("checkpoint_shape", "scan_forward", "scan_backward"):
        wanted = inspect.signature(getattr(engines.ScanEngine, function))
        _, *parameters = wanted.parameters.values()  # without self
        assert inspect.signature(getattr(module, function)) == wanted.replace(parameters=parameters), function
    monkeypatch.undo()
    sys.modules.pop(engines.ENGINES["mamba_ssm"].module, None)
