"""The scan under torch.func's transforms and forward-mode derivatives.

They need an autograd.Function with `setup_context`. The one that torch.library makes for `nnunet_mamba::scan` has none,
and it would drop forward-mode derivatives without a word.
"""

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nnunet_mamba.ops.engines import ScanInputs
from nnunet_mamba.ops.operator import NO_SECOND_DERIVATIVE


def active() -> bool:
    """Whether torch.func transforms this call, or a forward-mode derivative is taken; not while torch compiles."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def scan(inputs: ScanInputs, delta_softplus: bool, engine: str) -> tuple[Tensor, Tensor]:
    """Like operator.scan."""
    return _Scan.apply(*(x.contiguous() for x in inputs), delta_softplus, engine)[:2]


class _Scan(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments):
        return torch.ops.nnunet_mamba.scan(*arguments, True)

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.delta_softplus, ctx.engine = inputs
        _, last_state, checkpoints = output
        ctx.mark_non_differentiable(last_state, checkpoints)
        ctx.save_for_backward(*tensors, checkpoints)

    @staticmethod
    def backward(ctx, grad_output, _, __):
        *tensors, checkpoints = ctx.saved_tensors
        arguments = grad_output.contiguous(), *tensors, ctx.delta_softplus, ctx.engine, checkpoints
        return *_Gradients.apply(*arguments), *[None] * 4

    @staticmethod
    def jvp(ctx, *tangents):
        raise NotImplementedError("the scan has no forward-mode derivative: use torch.func.grad, vjp or jacrev")


class _Gradients(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(*arguments):
        return torch.ops.nnunet_mamba.scan_backward(*arguments)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, *_):
        raise NotImplementedError(NO_SECOND_DERIVATIVE)

    @staticmethod
    def jvp(ctx, *tangents):
        return _Gradients.backward(ctx)
