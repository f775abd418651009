"""DermoMambaTrainer: DermoMamba with its loss and its authors' recipe, everything else nnU-Net's."""

import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch.optim import Adam, Optimizer

from nnunet_mamba.networks import DermoMamba
from nnunet_mamba.trainers.guide_fusion_trainer import GuidedTraining
from nnunet_mamba.trainers.mamba_trainer import MambaTrainer
from nnunet_mamba.trainers.plateau import PlateauOfHistory


class DermoMambaTrainer(GuidedTraining, MambaTrainer):
    """Trains DermoMamba (Hoang et al. 2025) on any 2d configuration.

    From the paper: Guide Fusion loss; Adam at 1e-4, halved when the validation Dice has not risen for more than 5 epochs; one
    output. From nnU-Net: patches, batches, augmentation, epochs of 250 iterations, checkpoints and inference. A trainer derived
    from this one that sets `enable_deep_supervision` in `__init__` trains a head at each of the five resolutions.
    """

    num_outputs = 5  # with deep supervision

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False
        self.initial_lr = 1e-4
        self.weight_decay = 0.0
        self.lr_factor = 0.5
        self.lr_patience = 5

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        return DermoMamba(
            num_input_channels, num_output_channels, configuration_manager.patch_size, enable_deep_supervision
        )

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        return [[0.5**i] * 2 for i in range(self.num_outputs)] if self.enable_deep_supervision else None

    def configure_optimizers(self) -> tuple[Optimizer, PlateauOfHistory]:
        optimizer = Adam(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PlateauOfHistory(
            optimizer, self.initial_lr, self._validation_dice, self.lr_factor, self.lr_patience
        )


class DermoMambaTrainer_5epochs(DermoMambaTrainer):
    """DermoMambaTrainer for 5 epochs."""

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


class DermoMambaTrainer_50epochs(DermoMambaTrainer):
    """DermoMambaTrainer for 50 epochs."""

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


class DermoMambaTrainer_250epochs(DermoMambaTrainer):
    """DermoMambaTrainer for 250 epochs."""

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
