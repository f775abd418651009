"""Products of a weight with every position of a map, on a CPU at oneDNN's rate.

torch computes products by MKL and convolutions by oneDNN. On processors that are not Intel's, MKL takes two to four
times as long. So large float32 products on a CPU are 1x1 convolutions here; all others are torch's products.
"""

import torch
from torch import Tensor
from torch.nn import functional

from nnunet_mamba.ops.scan import traced

SMALLEST = 2**22  # multiply-adds; below, calling a convolution takes longer than the product


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """torch.nn.functional.linear.

    Shape:
        x: (..., I). weight: (O, I). bias: (O,).
    Returns:
        (..., O).
    """
    if not _is_faster_as_convolution(x, weight):
        return functional.linear(x, weight, bias)
    positions = x.reshape(1, 1, -1, x.shape[-1]).permute(0, 3, 1, 2)  # channels last in memory
    y = functional.conv2d(positions, weight[:, :, None, None], bias)
    return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)


def project(weight: Tensor, x: Tensor) -> Tensor:
    """`weight` times each column of x. As `weight @ x` it would fold the batch into L, which copies the map.

    Shape:
        weight: (O, I). x: (B, I, L).
    Returns:
        (B, O, L).
    """
    if _is_faster_as_convolution(x, weight):
        return functional.conv1d(x, weight[:, :, None])
    return torch.bmm(weight.expand(x.shape[0], -1, -1), x)


def _is_faster_as_convolution(x: Tensor, weight: Tensor) -> bool:
    if traced() or x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    # with one thread, torch does not give 1x1 convolutions to oneDNN
    return torch.get_num_threads() > 1 and x.numel() * weight.shape[0] >= SMALLEST
