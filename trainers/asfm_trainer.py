"""nnUNetTrainerASFM: nnU-Net's own network and recipe with DA-MambaNet's loss."""

import torch
from torch import nn

from nnunet_mamba.losses import ASFMLoss
from nnunet_mamba.trainers.deep_supervision import supervised
from nnunet_mamba.trainers.robust_trainer import RobustTrainer


class nnUNetTrainerASFM(RobustTrainer):
    """nnU-Net as it is, 2-D or 3-D, with `ASFMLoss` (Nguyen et al. 2025) in place of Dice and cross entropy."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.asfm_alpha = 0.25

    def _build_loss(self) -> nn.Module:
        loss = ASFMLoss(self.asfm_alpha, self.configuration_manager.batch_dice, self.label_manager.ignore_label)
        return supervised(self, loss)


class nnUNetTrainerASFM_5epochs(nnUNetTrainerASFM):
    """nnUNetTrainerASFM for 5 epochs."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 5


class nnUNetTrainerASFM_50epochs(nnUNetTrainerASFM):
    """nnUNetTrainerASFM for 50 epochs."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 50


class nnUNetTrainerASFM_250epochs(nnUNetTrainerASFM):
    """nnUNetTrainerASFM for 250 epochs."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 250
