"""Batch norm that bears a batch of one value a channel."""

from torch import Tensor, nn
from torch.nn.functional import batch_norm


class PooledBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d for maps that may be 1x1: where a batch of one has no variance, the running statistics serve.

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)
