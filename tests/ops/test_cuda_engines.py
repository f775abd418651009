"""What the GPU engines do around their kernels, as far as a machine without a GPU can tell."""

import os
import subprocess
import sys
import types

import pytest
import torch

from helpers.scan_definition import definition
from nnunet_mamba.ops import contest, reference, scan

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
    """The interpreter takes more than the compiler does. A chunk of 4 steps, unrolled, stands for one of 16."""
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-c", COMPILE, kernel]
    done = subprocess.run(
        command, env=environment | {"TRITON_CACHE_DIR": str(tmp_path)}, capture_output=True, text=True
    )
    if "cannot find" in done.stderr.lower() and "ptxas" in done.stderr.lower():
        pytest.skip("this Triton brings no assembler")
    assert done.returncode == 0, done.stderr[-2000:]


def fake_cuda_kernel() -> types.ModuleType:
    """mamba-ssm's compiled module, its signatures over the definition: sequences come in visiting order."""
    module = types.ModuleType("selective_scan_cuda")

    def compute(u, delta, A, B, C, D, bias, softplus):
        order = torch.arange(u.shape[2])[None]
        y, state = definition(u, delta[:, None], A[None], B[:, None], C[:, None], D[None], bias[None], order, softplus)
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
    orders = torch.stack([torch.randperm(length) for _ in range(directions)])
    leaves = [x.requires_grad_() for x in leaves]
    wanted, wanted_state = reference.scan(*leaves, orders, True)
    cotangent = torch.randn_like(wanted)
    wanted_grads = torch.autograd.grad(wanted, leaves, cotangent)
    with torch.no_grad():
        got, state, checkpoints = mamba_ssm_engine.scan_forward(*leaves, orders, True)
        grads = mamba_ssm_engine.scan_backward(cotangent, *leaves, orders, True, checkpoints)
    assert tuple(checkpoints.shape) == mamba_ssm_engine.checkpoint_shape(2, directions, channels, states, length)
    torch.testing.assert_close((got, state, grads), (wanted, wanted_state, wanted_grads), atol=1e-5, rtol=1e-4)


TRITON, MAMBA_SSM = (scan.ENGINES[name].module for name in ("triton", "mamba_ssm"))


@pytest.mark.parametrize(
    ("installed", "working", "winner", "wanted"),
    [
        ((), (), None, "torch"),
        (("triton",), (TRITON,), None, "triton"),
        (("triton",), (), None, "torch"),
        (("triton", "selective_scan_cuda"), (TRITON,), None, "triton"),
        (("triton", "selective_scan_cuda"), (MAMBA_SSM,), None, "mamba_ssm"),
        (("triton", "selective_scan_cuda"), (TRITON, MAMBA_SSM), TRITON, "triton"),
        (("triton", "selective_scan_cuda"), (TRITON, MAMBA_SSM), MAMBA_SSM, "mamba_ssm"),
    ],
)
def test_the_default_on_cuda_is_the_fastest_that_works(monkeypatch, installed, working, winner, wanted):
    monkeypatch.setattr(scan, "find_spec", lambda name: name in installed or None)
    monkeypatch.setattr(contest, "works", lambda module: module in working)
    monkeypatch.setattr(contest, "faster", lambda *modules: winner)
    scan._best_on_cuda.cache_clear()
    try:
        assert scan._default("cuda", torch.float32) == wanted
        assert scan._default("cuda", torch.float64) == "torch"
    finally:
        scan._best_on_cuda.cache_clear()


def test_the_choice_on_cuda_breaks_no_graph(monkeypatch):
    """It is made while torch.compile traces, if that is the first scan: by running engines, which must not be traced."""
    monkeypatch.setattr(scan, "_default", lambda device, dtype: scan._default_on_cuda())
    monkeypatch.setattr(scan, "find_spec", lambda name: scan.import_module("json") and None)  # what cannot be traced
    scan._best_on_cuda.cache_clear()
    u, rate, steering = torch.randn(1, 4, 6), -torch.ones(4, 2), torch.randn(1, 2, 6)
    try:
        compiled = torch.compile(scan.selective_scan, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(
            compiled(u, u, rate, steering, steering), scan.selective_scan(u, u, rate, steering, steering)
        )
    finally:
        scan._best_on_cuda.cache_clear()


@pytest.fixture
def wrong_engine(monkeypatch):
    """A module whose results are those of the torch engine, but for one."""

    def install(spoil):
        from nnunet_mamba.ops import torch_engine

        module = types.ModuleType("wrong_engine")
        module.scan_forward = torch_engine.scan_forward
        module.scan_backward = lambda *arguments: spoil(*torch_engine.scan_backward(*arguments))
        monkeypatch.setitem(sys.modules, "wrong_engine", module)
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
    assert contest.works("wrong_engine", "cpu") == (message is None)
    assert (message in caplog.text) if message else not caplog.text


def test_the_contest_is_won_by_the_faster_engine(monkeypatch):
    monkeypatch.setattr(contest, "TYPICAL", (1, 1, 16, 16, 256))
    contest.faster.cache_clear()
    assert contest.faster(scan.ENGINES["torch"].module, scan.ENGINES["cpu"].module, "cpu") == scan.ENGINES["cpu"].module
