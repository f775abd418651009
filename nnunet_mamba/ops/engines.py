"""Scan engines: what each one gets and provides, which ones there are, and which one serves a device."""

import os
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor

VARIABLE = "NNUNET_MAMBA_SCAN"
REFERENCE = "reference"


class Sizes(NamedTuple):
    """B, K, C, G, N and L of a scan."""

    batch: int
    directions: int
    channels: int
    groups: int
    states: int
    length: int


class ScanInputs(NamedTuple):
    """The tensors of a scan, on one device. Maps are in spatial order, whatever the walks."""

    u: Tensor  # (B, C, L)
    delta: Tensor  # (B, K, C, L)
    A: Tensor  # (K, C, N)
    B: Tensor  # (B, K, G, N, L), G a divisor of C
    C: Tensor  # (B, K, G, N, L)
    D: Tensor  # (K, C)
    delta_bias: Tensor  # (K, C)
    positions: Tensor  # (K, L) int64: direction k visits positions[k, t] at step t
    steps: Tensor  # (K, L) int64: direction k visits position p at step steps[k, p]

    @property
    def sizes(self) -> Sizes:
        batch, directions, groups, states, length = self.B.shape
        return Sizes(batch, directions, self.u.shape[1], groups, states, length)


class ProjectedInputs(NamedTuple):
    """A scan whose delta, B and C are products of weights with u: delta[:, k] = delta_weight[k] @ u, for example."""

    u: Tensor  # (B, C, L)
    delta_weight: Tensor  # (K, C, C)
    B_weight: Tensor  # (K, N, C)
    C_weight: Tensor  # (K, N, C)
    A: Tensor  # (K, C, N)
    D: Tensor  # (K, C)
    delta_bias: Tensor  # (K, C)
    positions: Tensor  # as in ScanInputs
    steps: Tensor

    @property
    def sizes(self) -> Sizes:
        directions, states, channels = self.B_weight.shape
        return Sizes(len(self.u), directions, channels, 1, states, self.u.shape[2])


class ScanEngine(Protocol):
    """The functions of an engine's module. All tensors are contiguous, and float32 or (if the engine can) float64."""

    def checkpoint_shape(self, sizes: Sizes) -> tuple[int, ...]:
        """Shape of what a forward keeps for its backward."""

    def scan_forward(self, inputs: ScanInputs, delta_softplus: bool, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
        """The output summed over directions (B, C, L), the last states (B, K, C, N), and the checkpoints.

        Without `keep` the checkpoints are an empty tensor.
        """

    def scan_backward(
        self, grad_output: Tensor, inputs: ScanInputs, delta_softplus: bool, checkpoints: Tensor
    ) -> tuple[Tensor, ...]:
        """Gradients with respect to u, delta, A, B, C, D and delta_bias."""

    def projected_scan_forward(
        self, inputs: ProjectedInputs, delta_softplus: bool, keep: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Same as `scan_forward`, for at most as many channels as the engine's row says."""

    def projected_scan_backward(
        self, grad_output: Tensor, inputs: ProjectedInputs, delta_softplus: bool, checkpoints: Tensor
    ) -> tuple[Tensor, ...]:
        """Gradients with respect to u, the three weights, A, D and delta_bias."""


class EngineRow(NamedTuple):
    module: str
    device: str | None  # the one type of device that it runs on; None: any
    float64: bool
    projects: int = 0  # most channels of a `projected_scan`; 0: the engine has none


ENGINES = {
    "torch": EngineRow("nnunet_mamba.ops.torch_engine", None, True),
    "cpu": EngineRow("nnunet_mamba.ops.cpu", "cpu", False, projects=16),
    "triton": EngineRow("nnunet_mamba.ops.triton_engine", "cuda", False),
    "mamba_ssm": EngineRow("nnunet_mamba.ops.mamba_ssm_engine", "cuda", False),
}
NEEDS = {"triton": "triton", "mamba_ssm": "selective_scan_cuda"}  # modules that not every machine has


def load_engine(name: str) -> ScanEngine:
    return cast(ScanEngine, import_module(ENGINES[name].module))


def engine_for(device: str, dtype: torch.dtype, engine: str | None = None) -> str:
    """The engine's name: `engine`, or else what NNUNET_MAMBA_SCAN says, or else the fastest for this type of device.

    Raises:
        ValueError: no engine has that name, or it cannot run on this device or in this dtype.
    """
    name = engine or os.environ.get(VARIABLE) or _default(device, dtype)
    if name == REFERENCE:
        return name
    if name not in ENGINES:
        names = ", ".join([REFERENCE, *ENGINES])
        raise ValueError(f"engine: got {name!r}, wanted one of {names} (argument or {VARIABLE})")
    row = ENGINES[name]
    if row.device not in (None, device) and not (name == "triton" and os.environ.get("TRITON_INTERPRET") == "1"):
        raise ValueError(
            f"engine: got {name!r} for tensors on {device}, wanted them on {row.device}, or engine 'torch'"
        )
    if dtype == torch.float64 and not row.float64:
        raise ValueError(f"engine: got {name!r} for float64, wanted float32 tensors, or engine 'torch'")
    return name


def _default(device: str, dtype: torch.dtype) -> str:
    if dtype == torch.float64:
        return "torch"
    if device == "cuda":
        return _default_on_cuda()
    return "cpu" if device == "cpu" else "torch"


def _default_on_cuda() -> str:
    """A constant for torch.compile, which must not trace the search. The mark needs a plain function."""
    return _best_on_cuda()


# torch.compiler.assume_constant_result sets the same mark, but imports torch._dynamo for it: over a second
setattr(_default_on_cuda, "_dynamo_marked_constant", True)  # noqa: B010 (mypy knows no attributes of functions)


@cache
def _best_on_cuda() -> str:
    """The faster of Triton and mamba-ssm, if they are installed and correct on this GPU; else torch."""
    from nnunet_mamba.ops import contest

    working = [name for name, needed in NEEDS.items() if find_spec(needed) is not None and contest.works(name)]
    if not working:
        return "torch"
    return working[0] if len(working) == 1 else contest.faster(*working)
