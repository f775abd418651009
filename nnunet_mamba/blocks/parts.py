"""Takes a batch apart that several maps were joined to."""

from torch import Tensor


def parts(x: Tensor, count: int) -> tuple[Tensor, ...]:
    """`x.chunk(count)` of a batch that `count` divides; exporters follow it for a batch of any size.

    Shape:
        (count * B, ...) -> `count` times (B, ...).
    """
    return x.unflatten(0, (count, x.shape[0] // count)).unbind()
