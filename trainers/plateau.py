"""The papers' learning rate: halved when validation Dice no longer rises."""

from collections.abc import Callable, Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau


class PlateauOfHistory:
    """torch's ReduceLROnPlateau as a function of the logged validation Dice, for nnU-Net's `lr_scheduler.step(epoch)`.

    Each call replays the history of earlier epochs. nnU-Net keeps that history in its checkpoints, so a continued
    training has the right learning rate without any state of ours.

    Args:
        history: returns the validation Dice of the epochs so far.
        factor, patience: the rate is multiplied by `factor` after more than `patience` epochs without a new best.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        initial_lr: float,
        history: Callable[[], Sequence[float]],
        factor: float,
        patience: int,
    ):
        self.optimizer = optimizer
        self.initial_lr = initial_lr
        self.history = history
        self.factor = factor
        self.patience = patience

    def step(self, epoch: int) -> None:
        """Set the learning rate of epoch number `epoch` (0-based)."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.initial_lr
        plateau = ReduceLROnPlateau(self.optimizer, mode="max", factor=self.factor, patience=self.patience)
        for dice in self.history()[:epoch]:
            plateau.step(dice)
