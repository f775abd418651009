"""DAMambaTrainer: DA-MambaNet with its loss and its authors' recipe, everything else nnU-Net's."""

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch.optim import Adam, Optimizer

from nnunet_mamba.losses import ASFMLoss
from nnunet_mamba.networks import DAMambaNet
from nnunet_mamba.trainers.mamba_trainer import MambaTrainer
from nnunet_mamba.trainers.plateau import PlateauOfHistory


class DAMambaTrainer(MambaTrainer):
    """Trains DA-MambaNet (Nguyen et al. 2025, Image and Vision Computing 163:105778) on any 2d configuration.

    From the paper: ASFM loss, summed over the three outputs at full size; Adam at 1e-3, halved when the validation Dice has
    not risen for more than 5 epochs. From nnU-Net: patches, batches, augmentation, epochs of 250 iterations, checkpoints
    and inference. A checkpoint is written after each epoch.
    """

    num_outputs = 3

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.initial_lr = 1e-3
        self.weight_decay = 0.0
        self.lr_factor = 0.5
        self.lr_patience = 5
        self.asfm_alpha = 0.25

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        return DAMambaNet(
            num_input_channels, num_output_channels, configuration_manager.patch_size, enable_deep_supervision
        )

    def _build_loss(self) -> nn.Module:
        loss = ASFMLoss(self.asfm_alpha, self.configuration_manager.batch_dice, self.label_manager.ignore_label)
        return DeepSupervisionWrapper(loss, [1] * self.num_outputs) if self.enable_deep_supervision else loss

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        return [[1.0, 1.0]] * self.num_outputs if self.enable_deep_supervision else None

    def configure_optimizers(self) -> tuple[Optimizer, PlateauOfHistory]:
        optimizer = Adam(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, PlateauOfHistory(
            optimizer, self.initial_lr, self._validation_dice, self.lr_factor, self.lr_patience
        )


class DAMambaTrainer_5epochs(DAMambaTrainer):
    """DAMambaTrainer for 5 epochs."""

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


class DAMambaTrainer_50epochs(DAMambaTrainer):
    """DAMambaTrainer for 50 epochs."""

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


class DAMambaTrainer_250epochs(DAMambaTrainer):
    """DAMambaTrainer for 250 epochs."""

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


class DAMambaTrainer_demo(DAMambaTrainer):
    """DAMambaTrainer for the minutes of `nnunet_mamba demo`: five epochs of 16 iterations."""

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
        self.num_iterations_per_epoch = 16
        self.num_val_iterations_per_epoch = 4
