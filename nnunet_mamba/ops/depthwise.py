"""torch's 2D convolution, but depthwise ones on a CPU, and above all their gradients, run near the rate of the memory.

oneDNN's weight gradients of wide and of dilated depthwise kernels take ten times as long as its forward pass, and so do
its input gradients of dilated ones (torch 2.14). Here the weight gradients have a kernel of their own, and the input
gradients are convolutions with the flipped weights. Without AVX-512, oneDNN is a hundred times too slow at kernels that
are both wide and dilated: these convolutions have a kernel of their own, too.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nnunet_mamba.ops._cpu_scratch import LANES, row_layout
from nnunet_mamba.ops.plain import all_plain
from nnunet_mamba.ops.scan import traced

ROWS = 16  # most rows of an image in a unit of work, see ops/_cpu_depthwise.py


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, reach: tuple[int, int], dilation: int = 1, groups: int = 1
) -> Tensor:
    """torch.nn.functional.conv2d that keeps the size of a map.

    Ours are depthwise convolutions of float32 maps on a CPU, channels last in memory, with 2, 4, 8, 16 or more
    channels. Everything else is torch's: other maps; graphs that something traces, transforms or counts; and second
    derivatives.

    Args:
        reach: the padding, dilation * (h // 2) rows and dilation * (w // 2) columns on each side.
    Shape:
        x: (B, C, H, W). weight: (C', C / groups, h, w), h and w odd. bias: (C',).
    Returns:
        (B, C', H, W).
    """
    if not _is_ours(x, weight, groups):
        return torch.nn.functional.conv2d(x, weight, bias, 1, reach, dilation, groups)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Depthwise.apply(x, weight, bias, reach, dilation)
    return _forward(x, weight, bias, reach, dilation)


def _is_ours(x: Tensor, weight: Tensor, groups: int) -> bool:
    if traced() or not all_plain(x, weight):
        return False
    if x.device.type != "cpu" or x.dtype != torch.float32 or weight.dtype != torch.float32 or x.dim() != 4:
        return False
    channels = x.shape[1]
    if not x.numel() or weight.shape[:2] != (channels, 1) or groups != channels:
        return False
    return (channels >= LANES or _fills_vectors(channels)) and _is_channels_last(x)


def _is_channels_last(x: Tensor) -> bool:
    """Whether convolutions take it for channels last: also a view of some channels of such a map."""
    _, by_channel, by_row, by_column = x.stride()
    return by_channel == 1 and x.shape[1] <= by_column <= by_row and not x.is_contiguous()


def _forward(x: Tensor, weight: Tensor, bias: Tensor | None, reach: tuple[int, int], dilation: int) -> Tensor:
    channels, width = len(weight), weight.shape[3]
    if dilation > 1 and width > 3 and _fills_vectors(channels):
        return convolution(x, weight, bias, dilation)
    return torch.nn.functional.conv2d(x, weight, bias, 1, reach, dilation, channels)


def _fills_vectors(channels: int) -> bool:
    return LANES % channels == 0 or channels % LANES == 0


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, reach, dilation):
        ctx.save_for_backward(x, weight)
        ctx.reach, ctx.dilation = reach, dilation
        return _forward(x, weight, bias, reach, dilation)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        reach, dilation = ctx.reach, ctx.dilation
        wanted = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled() or not all_plain(grad):
            sizes = [len(weight)], [1, 1], reach, [dilation, dilation], False, [0, 0], len(weight)
            return *torch.ops.aten.convolution_backward(grad, x, weight, *sizes, wanted), None, None
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = grad_weight = grad_bias = None
        if wanted[0]:
            grad_x = _forward(grad, weight.flip(2, 3), None, reach, dilation)
        if wanted[1] or wanted[2]:
            grad_weight, grad_bias = weight_gradient(x, grad, tuple(weight.shape[2:]), dilation)
        return grad_x, grad_weight, grad_bias if wanted[2] else None, None, None


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, dilation: int) -> Tensor:
    """A depthwise convolution that keeps the size of x.

    Shape:
        x: (B, C, H, W) float32, C a divisor or a multiple of 16. weight: (C, 1, h, w). bias: (C,).
    Returns:
        (B, C, H, W), channels last in memory.
    Raises:
        ValueError: C is neither.
    """
    from nnunet_mamba.ops.cpu import load_kernels

    channels = len(weight)
    if not _fills_vectors(channels):
        raise ValueError(f"x: got {channels} channels, wanted a divisor or a multiple of {LANES}: use `conv2d`")
    copies = max(1, LANES // channels)  # of the channels in a vector
    taps = weight.detach().flatten(1).t().repeat(1, copies)
    start = (x.new_zeros(channels) if bias is None else bias.detach()).repeat(copies)
    y = torch.empty_like(x, memory_format=torch.channels_last)
    _run(load_kernels().convolve, x, weight.shape[2:], dilation, taps, start, y.permute(0, 2, 3, 1))
    return y


def weight_gradient(x: Tensor, grad: Tensor, kernel_size: tuple[int, int], dilation: int) -> tuple[Tensor, Tensor]:
    """Of a depthwise convolution of x that keeps its size, from the gradient of its output; also that of its bias.

    The result does not depend on the number of threads.

    Shape:
        x, grad: (B, C, H, W) float32, C a divisor of 16 or more -> (C, 1, h, w) and (C,).
    Raises:
        ValueError: C is neither.
    """
    from nnunet_mamba.ops.cpu import load_kernels

    channels, taps = x.shape[1], kernel_size[0] * kernel_size[1]
    if channels < LANES and not _fills_vectors(channels):
        raise ValueError(f"x: got {channels} channels, wanted a divisor of {LANES} or more: use `conv2d`")
    sums = x.new_zeros(_units(x), taps + 1, -(-channels // LANES), LANES)
    grad = grad.detach().permute(0, 2, 3, 1).contiguous()
    _run(load_kernels().correlate, x, kernel_size, dilation, grad, sums)
    of_channels = _channels_of_lanes(sums.sum(0), channels)
    return of_channels[:taps].t().reshape(channels, 1, *kernel_size), of_channels[taps]


def _parts(height: int) -> int:
    return -(-height // ROWS)


def _units(x: Tensor) -> int:
    return len(x) * _parts(x.shape[2])


def _run(kernel: Callable, x: Tensor, kernel_size: Sequence[int], dilation: int, *tensors: Tensor) -> None:
    """Share the units of a map among threads. `tensors` are the kernel's other arguments, contiguous."""
    from nnunet_mamba.ops.cpu import share

    _, channels, height, width = x.shape
    kernel_height, kernel_width = kernel_size
    maps = x.detach().permute(0, 2, 3, 1).contiguous()
    apart = dilation * min(channels, LANES)
    arguments = (
        (height, width, channels, kernel_height, dilation, _parts(height)),
        tuple(i * apart for i in range(kernel_width)),
        *(t.view(-1).numpy() for t in (maps, *tensors)),
    )
    units, threads = _units(x), torch.get_num_threads()
    pieces = min(units, 4 * threads) if threads > 1 else 1
    items = [(units * i // pieces, units * (i + 1) // pieces) for i in range(pieces)]
    layout = row_layout(width, channels, dilation * (kernel_width // 2))
    share(lambda item, scratch: kernel(item, scratch, *arguments), items, layout)


def _channels_of_lanes(sums: Tensor, channels: int) -> Tensor:
    """(T, blocks, 16) -> (T, C). If the last block is not full, it has the last 16 channels, some of them again."""
    if channels < LANES:
        return sums.view(len(sums), -1, channels).sum(1)
    rest = channels % LANES
    return torch.cat([sums[:, :-1].flatten(1), sums[:, -1, LANES - rest :]], 1) if rest else sums.flatten(1)
