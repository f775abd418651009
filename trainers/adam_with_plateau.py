"""AdamWithPlateau: the optimiser and schedule of DA-MambaNet's and DermoMamba's authors."""

from collections.abc import Iterable

from torch.nn import Parameter
from torch.optim import Adam, Optimizer

from nnunet_mamba.trainers.mamba_trainer import MambaTrainer
from nnunet_mamba.trainers.plateau import PlateauOfHistory


class AdamWithPlateau(MambaTrainer):
    """Adam whose rate is halved when the validation Dice has not risen for more than 5 epochs."""

    weight_decay = 0.0
    lr_factor = 0.5
    lr_patience = 5

    @staticmethod
    def build_optimizer(parameters: Iterable[Parameter], initial_lr: float, weight_decay: float) -> Optimizer:
        return Adam(parameters, initial_lr, weight_decay=weight_decay)

    def configure_optimizers(self) -> tuple[Optimizer, PlateauOfHistory]:
        optimizer = self.build_optimizer(self.network.parameters(), self.initial_lr, self.weight_decay)
        return optimizer, PlateauOfHistory(
            optimizer, self.initial_lr, self._validation_dice, self.lr_factor, self.lr_patience
        )
