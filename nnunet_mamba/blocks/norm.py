"""Norms for small and for channels-last maps."""

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, group_norm


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
    """nn.InstanceNorm2d with learned weights that leaves its maps channels last; torch's makes them channels first.

    Computed as a group norm with a group per channel: it is faster, and torch's instance norm has wrong gradients for a
    single image whose gradient arrives channels last (torch 2.14).

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, channels: int):
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        normed = group_norm(x.contiguous(), self.num_features, self.weight, self.bias, self.eps)
        return normed.contiguous(memory_format=torch.channels_last)
