"""Depthwise convolutions beside torch's own, in turn, at the sizes of our networks; and AxialConv beside its two.

    python benchmarks/depthwise.py
    ONEDNN_MAX_CPU_ISA=AVX2 NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+avx2,+fma,-avx512f python benchmarks/depthwise.py

Milliseconds of the forward pass and of the gradients of the map and of the weights, on channels-last maps. The second
line shows a machine without AVX-512. Prints a table.
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from measure import interleaved
from nnunet_mamba import heap
from nnunet_mamba.blocks.axial import AxialConv, separate_axes
from nnunet_mamba.ops.depthwise import conv2d

# where, (B, C, H, W), (h, w), dilation
CASES = [
    ("DA-MambaNet, selective kernels", (4, 16, 192, 256), (7, 7), 1),
    ("DA-MambaNet, selective kernels", (4, 16, 192, 256), (7, 7), 2),
    ("DA-MambaNet, channel attention", (4, 4, 192, 256), (9, 9), 1),
    ("DA-MambaNet, channel attention", (4, 8, 96, 128), (9, 9), 1),
    ("DA-MambaNet, SS2D", (8, 8, 192, 256), (3, 3), 1),
    ("DermoMamba, axial chain", (4, 4, 192, 256), (1, 7), 3),
    ("DermoMamba, axial chain", (4, 4, 192, 256), (7, 1), 3),
    ("DermoMamba, axial chain", (4, 4, 192, 256), (3, 3), 3),
    ("DermoMamba, channel attention", (4, 512, 6, 8), (9, 9), 1),
    ("SliceMamba, SS2D", (4, 192, 48, 64), (3, 3), 1),
]
AXIAL = [(4, 64, 192, 256), (4, 128, 96, 128), (4, 16, 192, 256), (4, 8, 96, 128)]


def channels_last(*shape: int) -> Tensor:
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def passes(run: Callable[[], Tensor], inputs: list[Tensor], grad: Tensor) -> dict[str, Callable[[], object]]:
    """A forward pass, and the backward of one that was recorded before."""
    y = run()
    return {"forward": run, "backward": lambda: torch.autograd.grad(y, inputs, grad, retain_graph=True)}


def compared(
    contenders: dict[str, Callable[[], Tensor]], inputs: list[Tensor], grad: Tensor, rounds: int
) -> dict[str, float]:
    """Milliseconds of each contender's passes, by their names."""
    runs = {
        f"{name} {which}": call for name, run in contenders.items() for which, call in passes(run, inputs, grad).items()
    }
    return {name: 1000 * seconds for name, seconds in interleaved(runs, rounds).items()}


def print_row(name: str, times: dict[str, float]) -> None:
    columns = [f"{times[f'{who} {which}']:8.2f}" for which in ("forward", "backward") for who in ("torch", "ours")]
    print(f"{name:64}{''.join(columns)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    heap.keep_freed_memory()
    print(f"{'ms (forward: torch, ours; backward: torch, ours)':64}")
    for where, shape, kernel_size, dilation in CASES:
        channels = shape[1]
        weights = torch.randn(channels, 1, *kernel_size), torch.randn(channels)
        inputs = [t.requires_grad_() for t in (channels_last(*shape), *weights)]
        reach = tuple(dilation * (length // 2) for length in kernel_size)
        contenders = {
            "torch": partial(torch.nn.functional.conv2d, *inputs, 1, reach, dilation, channels),
            "ours": partial(conv2d, *inputs, reach, dilation, channels),
        }
        height, width = kernel_size
        name = f"{where}, {shape}, {height}x{width}, dilation {dilation}"
        print_row(name, compared(contenders, inputs, channels_last(*shape), arguments.rounds))
    for shape in AXIAL:
        axial, x = AxialConv(shape[1]), channels_last(*shape).requires_grad_()

        def apart(axial: AxialConv = axial, x: Tensor = x) -> Tensor:
            with separate_axes():
                return axial(x)

        inputs = [x, *axial.parameters()]
        contenders = {"torch": apart, "ours": partial(axial, x)}
        times = compared(contenders, inputs, channels_last(*shape), arguments.rounds)
        print_row(f"AxialConv as two (first) and as one (second), {shape}", times)


if __name__ == "__main__":
    main()
