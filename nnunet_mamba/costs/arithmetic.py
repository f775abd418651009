"""Parameters and multiply-adds of a network, layer by layer, with the scan apart.

torch's own counter follows the operators that really run: every convolution, linear layer and matrix product, whatever
module or function calls them. A multiply-add is one multiplication with its addition. Elementwise operations,
normalizations and activations are not counted.

The scan, per direction, channel and position: N states times (delta A, delta u B, the recurrence, the sum with C), and
twice more (delta u, D u): 4 N + 2. Exponentials are not counted.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nnunet_mamba.blocks.axial import separate_axes
from nnunet_mamba.blocks.ss2d import SS2D
from nnunet_mamba.costs.subject import Subject
from nnunet_mamba.ops.projected import separate_projections

SCAN = "nnunet_mamba.scan"
FLOPS_OF_MULTIPLY_ADD = 2


class Layer(NamedTuple):
    """A module's own cost, without that of modules inside it; multiply-adds for one patch.

    `keeps_size`: a convolution with stride 1 and a kernel above 1 that could be written with padding='same'.
    """

    name: str
    kind: str
    parameters: int
    multiply_adds: int
    scan: int
    keeps_size: bool


class Arithmetic(NamedTuple):
    """Of one patch: parameters, multiply-adds without and of the scan, and all layers that have any."""

    parameters: int
    multiply_adds: int
    scan: int
    layers: tuple[Layer, ...]

    @property
    def of_same_convolutions(self) -> int:
        """Multiply-adds of convolutions that keep the size, which fvcore leaves out if written padding='same'.

        Those inside an SS2D are not among them: VMamba's code, which the authors use, writes their padding as a number.
        """
        return sum(layer.multiply_adds for layer in self.layers if layer.keeps_size)


def scan_multiply_adds(u, delta, A, B, *rest, **more) -> int:
    """FLOPs, as torch's counter wants them: two per multiply-add; the arguments are shapes (see ScanInputs)."""
    batch, channels, length = u
    directions, states = A[0], A[2]
    return FLOPS_OF_MULTIPLY_ADD * batch * directions * channels * length * (4 * states + 2)


def count(subject: Subject) -> Arithmetic:
    """Count the network as it predicts, with one patch of zeros."""
    network = subject.build(training=False).eval()
    return count_network(network, torch.zeros(1, subject.in_channels, *subject.patch))


def count_network(network: nn.Module, patch: torch.Tensor) -> Arithmetic:
    """Count a network for an input, by running it."""
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.nnunet_mamba.scan: scan_multiply_adds})
    with torch.inference_mode(), separate_projections(), separate_axes(), counter:
        network(patch)
    counts = {
        name: (sum(n for op, n in by_op.items() if str(op) != SCAN), by_op.get(torch.ops.nnunet_mamba.scan, 0))
        for name, by_op in counter.get_flop_counts().items()
    }
    root = type(network).__name__
    inside: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for name in counts:
        if name not in (root, "Global"):
            for i, number in enumerate(counts[name]):
                inside[_caller(name, counts)][i] += number
    layers = []
    in_ss2d = {f"{name}.conv2d".lstrip(".") for name, module in network.named_modules() if isinstance(module, SS2D)}
    for name, module in network.named_modules():
        counted = f"{root}.{name}" if name else root
        parts = zip(counts.get(counted, (0, 0)), inside[counted])
        own = [(whole - part) // FLOPS_OF_MULTIPLY_ADD for whole, part in parts]
        parameters = sum(x.numel() for x in module.parameters(recurse=False))
        if parameters or any(own):
            same = keeps_size(module) and name not in in_ss2d
            layers.append(Layer(name or root, type(module).__name__, parameters, own[0], own[1], same))
    total, scan = (number // FLOPS_OF_MULTIPLY_ADD for number in counts["Global"])
    return Arithmetic(sum(x.numel() for x in network.parameters()), total, scan, tuple(layers))


def _caller(name: str, counts: Mapping[str, tuple[int, int]]) -> str:
    """The nearest module around `name` that was called: lists of modules are not."""
    name = name.rpartition(".")[0]
    while name not in counts:
        name = name.rpartition(".")[0]
    return name


def keeps_size(module: nn.Module) -> bool:
    """Whether it is a convolution with stride 1, a kernel above 1, and padding that keeps the size."""
    if not isinstance(module, nn.Conv2d | nn.Conv3d) or max(module.kernel_size) == 1 or max(module.stride) > 1:
        return False
    if isinstance(module.padding, str):
        return module.padding == "same"
    sides: zip[tuple[int, int, int]] = zip(module.padding, module.dilation, module.kernel_size)
    return all(2 * p == d * (k - 1) for p, d, k in sides)
