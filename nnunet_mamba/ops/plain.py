"""Takes tensors out of subclasses that carry notes along, such as MONAI's MetaTensor, and tells plain ones apart."""

import os

import torch
from torch import Tensor
from torch.nn import Parameter

from nnunet_mamba.ops import transforms
from nnunet_mamba.ops.engines import VARIABLE


def plain(x: Tensor) -> Tensor:
    """`x` itself, or its tensor if its class only overrides torch's functions. Gradients reach `x`.

    Such a class runs Python code at each operation, and not every operation takes it. Classes that torch traces or
    distributes with (fake tensors, DTensor) override the dispatch instead: they stay as they are.
    """
    kind = type(x)
    if kind in (Tensor, Parameter) or kind.__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return x
    return x.as_subclass(Tensor)


def all_plain(*tensors: Tensor) -> bool:
    """Whether nothing but autograd follows what is done with these tensors, and the CPU engine may be used."""
    if any(type(x) not in (Tensor, Parameter) for x in tensors) or torch.is_autocast_enabled("cpu"):
        return False
    if transforms.active() or torch._C._len_torch_dispatch_stack():
        return False
    return (os.environ.get(VARIABLE) or "cpu") == "cpu"
