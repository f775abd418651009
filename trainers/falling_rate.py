"""FallingRate: nnU-Net's own schedule for any of our trainers."""

from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch.optim import Optimizer


class FallingRate(nnUNetTrainer):
    """A trainer whose rate falls from `initial_lr` to nothing over the whole training, by nnU-Net's polynomial.

    A schedule that waits for a plateau never lowers the rate of a short training.
    """

    def configure_optimizers(self) -> tuple[Optimizer, PolyLRScheduler]:
        optimizer, _ = super().configure_optimizers()
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)
