"""nnUNetTrainerASFM: nnU-Net's own network and recipe with DA-MambaNet's loss."""

import numpy as np
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunet_mamba.losses import ASFMLoss


class nnUNetTrainerASFM(nnUNetTrainer):
    """nnU-Net as it is, 2-D or 3-D, with `ASFMLoss` (Nguyen et al. 2025) in place of Dice and cross entropy."""

    def _build_loss(self) -> nn.Module:
        loss = ASFMLoss(
            batch_dice=self.configuration_manager.batch_dice, ignore_label=self.label_manager.ignore_label
        )
        if not self.enable_deep_supervision:
            return loss
        # nnU-Net's weights: halved with each resolution, one in sum, none for the lowest but in distributed training,
        # where each head must get a gradient
        weights = 1 / 2.0 ** np.arange(len(self._get_deep_supervision_scales()))
        weights[-1] = 1e-6 if self.is_ddp else 0
        return DeepSupervisionWrapper(loss, weights / weights.sum())
