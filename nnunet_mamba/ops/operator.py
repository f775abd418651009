"""The scan as one node of torch's graph, `nnunet_mamba::scan` or `projected_scan`, whatever its engine does inside.

It is registered through torch.library.Library. torch.library.custom_op asks `inspect` for the calling module, and
`inspect` then looks at every loaded module: 30 to 70 ms of each start of nnU-Net with one of our trainers.
"""

import logging
import sys
from collections.abc import Callable
from functools import cache, wraps

import torch
from torch import Tensor

from nnunet_mamba.ops.engines import ProjectedInputs, ScanInputs, load_engine

logger = logging.getLogger("nnunet_mamba")

NO_SECOND_DERIVATIVE = "the scan has no second derivative: use engine='reference', which autograd records"
_library = torch.library.Library("nnunet_mamba", "DEF")


def scan(inputs: ScanInputs | ProjectedInputs, delta_softplus: bool, engine: str) -> tuple[Tensor, Tensor]:
    """The output summed over directions (B, C, L) and the last states (B, K, C, N), by the engine of that name."""
    keep = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    contiguous = (x.contiguous() for x in inputs)
    operators = torch.ops.nnunet_mamba
    operator = operators.scan if isinstance(inputs, ScanInputs) else operators.projected_scan
    return operator(*contiguous, delta_softplus, engine, keep)[:2]


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


def _refuse_second_derivative(ctx, *_):
    raise NotImplementedError(NO_SECOND_DERIVATIVE)


def _register(name: str, inputs_class: type[ScanInputs] | type[ProjectedInputs]) -> None:
    """Make `name` and `name_backward` operators, computed by the engine's functions `name_forward` and `_backward`."""
    count = len(inputs_class._fields)
    inputs = ", ".join(f"Tensor {field}" for field in inputs_class._fields)
    gradients = ", ".join(["Tensor"] * (count - 2))

    @_not_compiled
    def forward(*arguments):
        *tensors, delta_softplus, engine, keep = arguments
        log_choice(engine, tensors[0].device.type)
        compute = getattr(load_engine(engine), f"{name}_forward")
        return compute(inputs_class(*tensors), delta_softplus, keep)

    def forward_shapes(*arguments):
        *tensors, _, engine, keep = arguments
        inputs = inputs_class(*tensors)
        sizes = inputs.sizes
        state = inputs.u.new_empty(sizes.batch, sizes.directions, sizes.channels, sizes.states)
        kept = load_engine(engine).checkpoint_shape(sizes) if keep else (0,)
        return torch.empty_like(inputs.u), state, inputs.u.new_empty(kept)

    @_not_compiled
    def backward(grad_output, *arguments):
        *tensors, delta_softplus, engine, checkpoints = arguments
        compute = getattr(load_engine(engine), f"{name}_backward")
        return compute(grad_output, inputs_class(*tensors), delta_softplus, checkpoints)

    def backward_shapes(grad_output, *arguments):
        return tuple(torch.empty_like(x) for x in arguments[: count - 2])

    def setup_context(ctx, inputs, output):
        *tensors, ctx.delta_softplus, ctx.engine, _ = inputs
        ctx.save_for_backward(*tensors, output[2])
        ctx.set_materialize_grads(False)

    def differentiate(ctx, grad_output, grad_last_state, grad_checkpoints):
        *tensors, checkpoints = ctx.saved_tensors
        none = (None,) * (count + 3)
        if grad_output is None:
            return none
        if not checkpoints.numel():
            raise RuntimeError(
                "the scan ran without what its backward needs: it was recorded where no gradient was wanted"
            )
        arguments = grad_output.contiguous(), *tensors, ctx.delta_softplus, ctx.engine, checkpoints
        gradients = getattr(torch.ops.nnunet_mamba, f"{name}_backward")(*arguments)
        return *gradients, *none[count - 2 :]

    traced = {"tags": torch.Tag.pt2_compliant_tag}
    _library.define(
        f"{name}({inputs}, bool delta_softplus, str engine, bool keep) -> (Tensor, Tensor, Tensor)", **traced
    )
    _library.define(
        f"{name}_backward(Tensor grad_output, {inputs}, bool delta_softplus, str engine, Tensor checkpoints)"
        f" -> ({gradients})",
        **traced,
    )
    _library.impl(name, forward, "CompositeExplicitAutograd")
    _library.impl(name, forward_shapes, "Meta")
    _library.impl(f"{name}_backward", backward, "CompositeExplicitAutograd")
    _library.impl(f"{name}_backward", backward_shapes, "Meta")
    torch.library.register_autograd(f"nnunet_mamba::{name}", differentiate, setup_context=setup_context, lib=_library)
    torch.library.register_autograd(f"nnunet_mamba::{name}_backward", _refuse_second_derivative, lib=_library)


_register("scan", ScanInputs)
_register("projected_scan", ProjectedInputs)
