"""DAMambaTrainer: DA-MambaNet with its loss and its authors' recipe, everything else nnU-Net's."""

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_mamba.heap import keep_freed_memory
from nnunet_mamba.losses import ASFMLoss
from nnunet_mamba.networks.da_mambanet import DAMambaNet
from nnunet_mamba.trainers.adam_with_plateau import AdamWithPlateau
from nnunet_mamba.trainers.averaged_weights import AveragedWeights
from nnunet_mamba.trainers.falling_rate import FallingRate
from nnunet_mamba.trainers.with_loss import WithLoss


class DAMambaTrainer(WithLoss, AdamWithPlateau):
    """Trains DA-MambaNet (Nguyen et al. 2025, Image and Vision Computing 163:105778) on any 2d configuration.

    From the paper: ASFM loss, summed over the three full-size outputs; Adam at 1e-3, halved when the validation Dice
    has not risen for more than 5 epochs. From nnU-Net: patches, batches, augmentation, epochs of 250 iterations,
    checkpoints and inference.
    """

    loss_class = ASFMLoss
    output_weights = (1, 1, 1)
    initial_lr = 1e-3
    starts_with_class_shares = False  # it learns rare classes without, and its final logits are a sum of two heads'

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        keep_freed_memory()  # predictions make the network without a trainer
        return DAMambaNet(
            num_input_channels, num_output_channels, configuration_manager.patch_size, enable_deep_supervision
        )

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        return [[1.0, 1.0]] * len(self.output_weights) if self.enable_deep_supervision else None


class DAMambaTrainer_tuned(AveragedWeights, FallingRate, DAMambaTrainer):
    """DAMambaTrainer with changes of ours, chosen on validation cases: see docs/results.md, "What was tried".

    The rate starts three times as high and falls by nnU-Net's polynomial instead of waiting for a plateau. Predictions
    are made with an average of the weights.
    """

    initial_lr = 3e-3
