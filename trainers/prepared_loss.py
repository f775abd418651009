"""PreparedLoss: what a loss computes from the target only is computed while the network runs."""

import torch

from nnunet_mamba.trainers.robust_trainer import RobustTrainer


class PreparedLoss(RobustTrainer):
    """A trainer that hands each target to its loss's `prepare(target, num_classes)`, if it has one, before the forward.

    On the CPU only: elsewhere this does not make the loss faster.
    """

    def train_step(self, batch: dict) -> dict:
        self._prepare_loss(batch["target"])
        return super().train_step(batch)

    def validation_step(self, batch: dict) -> dict:
        self._prepare_loss(batch["target"])
        return super().validation_step(batch)

    def _prepare_loss(self, target: torch.Tensor | list[torch.Tensor]) -> None:
        loss = self.loss.loss if isinstance(target, list) else self.loss
        if self.device.type != "cpu" or not hasattr(loss, "prepare"):
            return
        channels = self.label_manager.num_segmentation_heads
        if isinstance(target, list):
            for scale, weight in zip(target, self.loss.weight_factors, strict=True):
                if weight:
                    loss.prepare(scale, channels)
        else:
            loss.prepare(target, channels)
