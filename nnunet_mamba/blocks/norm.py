"""Norms for small and for channels-last maps."""

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from nnunet_mamba.ops.layer_norm import layer_norm


class PooledBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d that uses its running statistics for a single 1x1 map, which has no variance.

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class InstanceNorm2d(nn.InstanceNorm2d):
    """nn.InstanceNorm2d with learned weights that keeps channels-last maps so.

    torch's makes them channels first, and has wrong gradients for a single image whose gradient arrives channels last
    (torch 2.14).

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, channels: int):
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x.float(), (2, 3), correction=0, keepdim=True)
        scale = self.weight[:, None, None] * torch.rsqrt(variance + self.eps)
        return (x * scale + (self.bias[:, None, None] - mean * scale)).to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """nn.LayerNorm over the last axis, fast over few channels on a CPU.

    Shape:
        (..., C) -> (..., C).
    """

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight, self.bias, self.eps)
