"""A learning rate that falls along half a cosine over the whole training."""

import math

from torch.optim import Optimizer


class CosineOfEpoch:
    """Cosine annealing (Loshchilov and Hutter 2017, no restarts) by the epoch, for nnU-Net's `step(epoch)`.

    Args:
        initial_lr, final_lr: the rates in the first epoch and after the last.
        num_epochs: epochs of the whole training.
    """

    def __init__(self, optimizer: Optimizer, initial_lr: float, final_lr: float, num_epochs: int):
        self.optimizer = optimizer
        self.initial_lr = initial_lr
        self.final_lr = final_lr
        self.num_epochs = num_epochs

    def step(self, epoch: int) -> None:
        """Set the learning rate of epoch number `epoch` (0-based)."""
        share = (1 + math.cos(math.pi * min(epoch / self.num_epochs, 1))) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = self.final_lr + (self.initial_lr - self.final_lr) * share
