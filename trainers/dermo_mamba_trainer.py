"""DermoMambaTrainer: DermoMamba with its loss and its authors' recipe, everything else nnU-Net's."""

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_mamba.heap import keep_freed_memory
from nnunet_mamba.losses import GuideFusionLoss
from nnunet_mamba.networks.dermomamba import DermoMamba
from nnunet_mamba.trainers.adam_with_plateau import AdamWithPlateau
from nnunet_mamba.trainers.with_loss import WithLoss


class DermoMambaTrainer(WithLoss, AdamWithPlateau):
    """Trains DermoMamba (Hoang et al. 2025) on any 2d configuration.

    From the paper: Guide Fusion loss; Adam at 1e-4, halved when the validation Dice has not risen for more than 5
    epochs; one output. From nnU-Net: patches, batches, augmentation, epochs of 250 iterations, checkpoints and
    inference. A derived trainer that sets `enable_deep_supervision` trains a head at each of the five resolutions.
    """

    loss_class = GuideFusionLoss
    enable_deep_supervision = False
    num_outputs = 5  # with deep supervision
    initial_lr = 1e-4

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        keep_freed_memory()  # predictions make the network without a trainer
        return DermoMamba(
            num_input_channels, num_output_channels, configuration_manager.patch_size, enable_deep_supervision
        )

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        return [[0.5**i] * 2 for i in range(self.num_outputs)] if self.enable_deep_supervision else None
