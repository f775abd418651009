"""nnUNetTrainerASFM: nnU-Net's own network and recipe with DA-MambaNet's loss."""

from torch import nn

from nnunet_mamba.losses import ASFMLoss
from nnunet_mamba.trainers.deep_supervision import supervised
from nnunet_mamba.trainers.robust_trainer import RobustTrainer


class nnUNetTrainerASFM(RobustTrainer):
    """nnU-Net as it is, 2-D or 3-D, with `ASFMLoss` (Nguyen et al. 2025) in place of Dice and cross entropy."""

    def _build_loss(self) -> nn.Module:
        loss = ASFMLoss(
            batch_dice=self.configuration_manager.batch_dice, ignore_label=self.label_manager.ignore_label
        )
        return supervised(self, loss)
