"""Takes tensors out of subclasses that carry notes along, such as MONAI's MetaTensor."""

from torch import Tensor
from torch.nn import Parameter


def plain(x: Tensor) -> Tensor:
    """`x` itself, or its tensor if its class only overrides torch's functions. Gradients reach `x`.

    Such a class runs Python code at each operation, and not every operation takes it. Classes that torch traces or
    distributes with (fake tensors, DTensor) override the dispatch instead: they stay as they are.
    """
    kind = type(x)
    if kind in (Tensor, Parameter) or kind.__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return x
    return x.as_subclass(Tensor)
