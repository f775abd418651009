"""nnUNetTrainerGuideFusion: nnU-Net's own network and recipe with DermoMamba's loss."""

import torch
from torch import nn

from nnunet_mamba.losses import GuideFusionLoss
from nnunet_mamba.trainers.deep_supervision import supervised
from nnunet_mamba.trainers.robust_trainer import RobustTrainer


class GuidedTraining(RobustTrainer):
    """A trainer with `GuideFusionLoss`, whose distances to boundaries are computed while the network runs."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.guidance = "pixel"

    def _build_loss(self) -> nn.Module:
        loss = GuideFusionLoss(self.guidance, self.configuration_manager.batch_dice, self.label_manager.ignore_label)
        return supervised(self, loss)

    def train_step(self, batch: dict) -> dict:
        self._prepare_guidance(batch["target"])
        return super().train_step(batch)

    def validation_step(self, batch: dict) -> dict:
        self._prepare_guidance(batch["target"])
        return super().validation_step(batch)

    def _prepare_guidance(self, target: torch.Tensor | list[torch.Tensor]) -> None:
        if self.device.type != "cpu":
            return
        channels = self.label_manager.num_segmentation_heads
        if isinstance(target, list):
            for scale, weight in zip(target, self.loss.weight_factors, strict=True):
                if weight:
                    self.loss.loss.prepare(scale, channels)
        else:
            self.loss.prepare(target, channels)


class nnUNetTrainerGuideFusion(GuidedTraining):
    """nnU-Net as it is, 2-D or 3-D, with `GuideFusionLoss` (Hoang et al. 2025) in place of Dice and cross entropy."""


class nnUNetTrainerGuideFusion_5epochs(nnUNetTrainerGuideFusion):
    """nnUNetTrainerGuideFusion for 5 epochs."""

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


class nnUNetTrainerGuideFusion_50epochs(nnUNetTrainerGuideFusion):
    """nnUNetTrainerGuideFusion for 50 epochs."""

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


class nnUNetTrainerGuideFusion_250epochs(nnUNetTrainerGuideFusion):
    """nnUNetTrainerGuideFusion for 250 epochs."""

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
