"""torch's 2D convolution, but gradients of depthwise ones on a CPU are computed at the rate of the memory.

oneDNN's weight gradients of wide and of dilated depthwise kernels take ten times their forward pass, and its input
gradients of dilated ones do, too (torch 2.14). Here the weight gradients have a kernel of their own, and the input
gradients are convolutions with the flipped weights.
"""

import os
from typing import NamedTuple

import torch
from torch import Tensor

from nnunet_mamba.ops import transforms
from nnunet_mamba.ops.engines import VARIABLE
from nnunet_mamba.ops.scan import exports

LANES = 16  # of the kernel, see ops/_cpu_scratch.py; that needs NumPy
ROWS = 16  # of a map: the sums of fewer are not worth a place of their own


class WorkItem(NamedTuple):
    """What a thread does at a time: some units, from the first to before the last. See ops/_cpu_depthwise.py."""

    first: int
    last: int


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, reach: tuple[int, int], dilation: int = 1, groups: int = 1
) -> Tensor:
    """torch.nn.functional.conv2d that keeps the size of a map.

    Our gradients are those of depthwise convolutions of float32 maps on a CPU, channels last in memory, with 2, 4, 8,
    16 or more channels. Everything else is torch's: other maps; graphs that something traces, transforms or counts;
    and second derivatives.

    Args:
        reach: the padding, dilation * (h // 2) rows and dilation * (w // 2) columns on each side.
    Shape:
        x: (B, C, H, W). weight: (C', C / groups, h, w), h and w odd. bias: (C',).
    Returns:
        (B, C', H, W).
    """
    if _is_ours(x, weight, groups):
        return _Depthwise.apply(x, weight, bias, reach, dilation)
    return torch.nn.functional.conv2d(x, weight, bias, 1, reach, dilation, groups)


def _is_ours(x: Tensor, weight: Tensor, groups: int) -> bool:
    if torch.compiler.is_compiling() or not torch.is_grad_enabled() or not (x.requires_grad or weight.requires_grad):
        return False
    if not _is_plain(x, weight):
        return False
    if x.device.type != "cpu" or x.dtype != torch.float32 or weight.dtype != torch.float32 or x.dim() != 4:
        return False
    channels = x.shape[1]
    if not x.numel() or weight.shape[:2] != (channels, 1) or groups != channels:
        return False
    if channels < LANES and LANES % channels:
        return False
    return _is_channels_last(x)


def _is_channels_last(x: Tensor) -> bool:
    """Whether convolutions take it for channels last: also a view of some channels of such a map."""
    _, by_channel, by_row, by_column = x.stride()
    return by_channel == 1 and x.shape[1] <= by_column <= by_row and not x.is_contiguous()


def _is_plain(*tensors: Tensor) -> bool:
    """Whether nothing but autograd follows what is done with them."""
    if any(type(x) not in (Tensor, torch.nn.Parameter) for x in tensors) or torch.is_autocast_enabled("cpu"):
        return False
    if exports() or torch.jit.is_tracing() or transforms.active() or torch._C._len_torch_dispatch_stack():
        return False
    return os.environ.get(VARIABLE, "cpu") == "cpu"


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, reach, dilation):
        ctx.save_for_backward(x, weight)
        ctx.reach, ctx.dilation = reach, dilation
        return torch.nn.functional.conv2d(x, weight, bias, 1, reach, dilation, len(weight))

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        channels, reach, dilation = len(weight), ctx.reach, ctx.dilation
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled() or not _is_plain(grad):
            sizes = [channels], [1, 1], reach, [dilation, dilation], False, [0, 0], channels
            return *torch.ops.aten.convolution_backward(grad, x, weight, *sizes, wanted), None, None
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = grad_weight = grad_bias = None
        if wanted[0]:
            grad_x = torch.nn.functional.conv2d(grad, weight.flip(2, 3), None, 1, reach, dilation, channels)
        if wanted[1] or wanted[2]:
            grad_weight, grad_bias = weight_gradient(x, grad, tuple(weight.shape[2:]), dilation)
        return grad_x, grad_weight, grad_bias if wanted[2] else None, None, None


def weight_gradient(x: Tensor, grad: Tensor, kernel_size: tuple[int, int], dilation: int) -> tuple[Tensor, Tensor]:
    """Of a depthwise convolution of x that keeps its size, from the gradient of its output; also that of its bias.

    The result does not depend on the number of threads.

    Shape:
        x, grad: (B, C, H, W) float32, C as `conv2d` says -> (C, 1, h, w) and (C,).
    """
    from nnunet_mamba.ops._cpu_scratch import row_layout
    from nnunet_mamba.ops.cpu import load_kernels, share

    correlate = load_kernels().correlate
    images, channels, height, width = x.shape
    x, grad = (t.detach().permute(0, 2, 3, 1).contiguous() for t in (x, grad))
    parts = -(-height // ROWS)
    units = images * parts
    taps = kernel_size[0] * kernel_size[1]
    blocks = -(-channels // LANES)
    sums = x.new_zeros(units, taps + 1, blocks, LANES)
    apart = dilation * min(channels, LANES)
    arguments = (
        (height, width, channels, kernel_size[0], dilation, parts),
        tuple(i * apart for i in range(kernel_size[1])),
        *(t.view(-1).numpy() for t in (x, grad, sums)),
    )
    pieces = min(units, 4 * torch.get_num_threads()) if torch.get_num_threads() > 1 else 1
    items = [WorkItem(units * i // pieces, units * (i + 1) // pieces) for i in range(pieces)]
    share(
        lambda item, scratch: correlate(item, scratch, *arguments),
        items,
        row_layout(width, channels, dilation * (kernel_size[1] // 2)),
    )
    of_channels = _channels_of_lanes(sums.sum(0), channels)
    return of_channels[:taps].t().reshape(channels, 1, *kernel_size), of_channels[taps]


def _channels_of_lanes(sums: Tensor, channels: int) -> Tensor:
    """(T, blocks, 16) -> (T, C). If the last block is not full, it has the last 16 channels, some of them again."""
    if channels < LANES:
        return sums.view(len(sums), -1, channels).sum(1)
    rest = channels % LANES
    return torch.cat([sums[:, :-1].flatten(1), sums[:, -1, LANES - rest :]], 1) if rest else sums.flatten(1)
