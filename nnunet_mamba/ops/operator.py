"""The scan as one node of torch's graph, `nnunet_mamba::scan`, whatever its engine does inside.

It is registered through torch.library.Library. torch.library.custom_op asks `inspect` for the calling module, and
`inspect` then looks at every loaded module: 30 to 70 ms of each start of nnU-Net with one of our trainers.
"""

import logging
import sys
from collections.abc import Callable
from functools import cache, wraps

import torch
from torch import Tensor

from nnunet_mamba.ops.engines import ScanInputs, load_engine

logger = logging.getLogger("nnunet_mamba")

NO_SECOND_DERIVATIVE = "the scan has no second derivative: use engine='reference', which autograd records"
_INPUTS = ", ".join(f"Tensor {name}" for name in ScanInputs._fields)
_GRADIENTS = ", ".join(["Tensor"] * 7)

_library = torch.library.Library("nnunet_mamba", "DEF")
_library.define(
    f"scan({_INPUTS}, bool delta_softplus, str engine, bool keep) -> (Tensor, Tensor, Tensor)",
    tags=torch.Tag.pt2_compliant_tag,
)
_library.define(
    f"scan_backward(Tensor grad_output, {_INPUTS}, bool delta_softplus, str engine, Tensor checkpoints)"
    f" -> ({_GRADIENTS})",
    tags=torch.Tag.pt2_compliant_tag,
)


def scan(inputs: ScanInputs, delta_softplus: bool, engine: str) -> tuple[Tensor, Tensor]:
    """The output summed over directions (B, C, L) and the last states (B, K, C, N), by the engine of that name."""
    keep = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    contiguous = (x.contiguous() for x in inputs)
    return torch.ops.nnunet_mamba.scan(*contiguous, delta_softplus, engine, keep)[:2]


@cache
def log_choice(engine: str, device: str) -> None:
    """Once for each device."""
    logger.info("selective scan on %s: engine '%s'", device, engine)


def _not_compiled(run: Callable) -> Callable:
    """torch.compile does not look inside `run`, even if the operator runs beside a compiled graph.

    torch.compiler.disable imports torch._dynamo, which takes longer than the rest of torch. So it is applied at the
    first call after something else has imported that; until then nothing is compiled.
    """
    disabled = cache(torch.compiler.disable)

    @wraps(run)
    def call(*arguments):
        return (disabled(run) if "torch._dynamo" in sys.modules else run)(*arguments)

    return call


@_not_compiled
def _forward(*arguments):
    *tensors, delta_softplus, engine, keep = arguments
    log_choice(engine, tensors[0].device.type)
    return load_engine(engine).scan_forward(ScanInputs(*tensors), delta_softplus, keep)


def _forward_shapes(*arguments):
    *tensors, _, engine, keep = arguments
    inputs = ScanInputs(*tensors)
    sizes = inputs.sizes
    state = inputs.u.new_empty(sizes.batch, sizes.directions, sizes.channels, sizes.states)
    kept = load_engine(engine).checkpoint_shape(sizes) if keep else (0,)
    return torch.empty_like(inputs.u), state, inputs.u.new_empty(kept)


@_not_compiled
def _backward(grad_output, *arguments):
    *tensors, delta_softplus, engine, checkpoints = arguments
    return load_engine(engine).scan_backward(grad_output, ScanInputs(*tensors), delta_softplus, checkpoints)


def _backward_shapes(grad_output, *arguments):
    return tuple(torch.empty_like(x) for x in arguments[:7])


def _setup_context(ctx, inputs, output):
    *tensors, ctx.delta_softplus, ctx.engine, _ = inputs
    ctx.save_for_backward(*tensors, output[2])
    ctx.set_materialize_grads(False)


def _differentiate(ctx, grad_output, grad_last_state, grad_checkpoints):
    *tensors, checkpoints = ctx.saved_tensors
    none = (None,) * (len(tensors) + 3)
    if grad_output is None:
        return none
    if not checkpoints.numel():
        raise RuntimeError("the scan ran without what its backward needs: it was recorded where no gradient was wanted")
    arguments = grad_output.contiguous(), *tensors, ctx.delta_softplus, ctx.engine, checkpoints
    return *torch.ops.nnunet_mamba.scan_backward(*arguments), *none[7:]


def _refuse_second_derivative(ctx, *_):
    raise NotImplementedError(NO_SECOND_DERIVATIVE)


_library.impl("scan", _forward, "CompositeExplicitAutograd")
_library.impl("scan", _forward_shapes, "Meta")
_library.impl("scan_backward", _backward, "CompositeExplicitAutograd")
_library.impl("scan_backward", _backward_shapes, "Meta")
torch.library.register_autograd("nnunet_mamba::scan", _differentiate, setup_context=_setup_context, lib=_library)
torch.library.register_autograd("nnunet_mamba::scan_backward", _refuse_second_derivative, lib=_library)
