"""torch's layer norm, but over few channels on a CPU it runs near the rate of the memory.

torch takes each position by itself: over 4 channels that is ten times as long as reading and writing them (torch 2.14).
"""

import torch
from torch import Tensor
from torch.nn import functional

from nnunet_mamba.ops._cpu_scratch import LANES, row_layout
from nnunet_mamba.ops.plain import all_plain
from nnunet_mamba.ops.scan import traced

UNIT = 2**14  # most floats in a unit of work, a multiple of 16


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """torch.nn.functional.layer_norm over the last axis.

    Ours are norms over 2, 4, 8 or 16 channels of float32 on a CPU. Everything else is torch's: graphs that something
    traces, transforms or counts, and second derivatives, too.

    Shape:
        x: (..., C). weight, bias: (C,).
    Returns:
        (..., C).
    """
    if not _is_ours(x, weight, bias):
        return functional.layer_norm(x, weight.shape, weight, bias, eps)
    x = x.contiguous()
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, weight, bias)):
        return _LayerNorm.apply(x, weight, bias, eps)
    return _LayerNorm.compute(x, weight, bias, eps)


def _is_ours(x: Tensor, *parameters: Tensor) -> bool:
    if traced() or any(t.device.type != "cpu" or t.dtype != torch.float32 for t in (x, *parameters)):
        return False
    channels = x.shape[-1]
    fit = channels in (2, 4, 8, LANES) and all(t.shape == (channels,) for t in parameters)
    return fit and x.numel() > 0 and all_plain(x, *parameters)


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def compute(x, weight, bias, eps):
        out = torch.empty_like(x)
        _run("normalise", x, eps, x, _to_fill(weight), _to_fill(bias), out)
        return out

    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        ctx.save_for_backward(x, weight, bias)
        ctx.eps = eps
        return _LayerNorm.compute(x, weight, bias, eps)

    @staticmethod
    def backward(ctx, grad):
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled() or not all_plain(grad):
            _, mean, scale = torch.native_layer_norm(x, weight.shape, weight, bias, ctx.eps)
            wanted = ctx.needs_input_grad[:3]
            return *torch.ops.aten.native_layer_norm_backward(
                grad, x, weight.shape, mean, scale, weight, bias, wanted
            ), None
        dx = torch.empty_like(x)
        sums = x.new_empty(len(_units(x)), 2, LANES // len(weight), len(weight))
        _run("normalise_back", x, ctx.eps, x, _to_fill(weight), grad.contiguous(), dx, sums, numbered=True)
        dweight, dbias = sums.sum((0, 2))
        return dx, dweight, dbias, None


def _to_fill(parameter: Tensor) -> Tensor:
    """Repeated until a vector is full."""
    return parameter.detach().repeat(LANES // len(parameter))


def _units(x: Tensor) -> list[tuple[int, int]]:
    """Floats from which and before which units of work read; they do not depend on the number of threads."""
    return [(start, min(start + UNIT, x.numel())) for start in range(0, x.numel(), UNIT)]


def _run(kernel: str, x: Tensor, eps: float, *tensors: Tensor, numbered: bool = False) -> None:
    from nnunet_mamba.ops.cpu import load_kernels, share

    run, channels = getattr(load_kernels(), kernel), (0,) * x.shape[-1]
    flat = [t.detach().view(-1).numpy() for t in tensors]

    def work(item, scratch) -> None:
        number, floats = item
        run(floats, scratch, channels, eps, *flat, *([number] if numbered else []))

    share(work, list(enumerate(_units(x))), row_layout(0, LANES, 0))
