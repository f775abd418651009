"""One loss over all outputs of a network with deep supervision."""

from collections.abc import Sequence

import numpy as np
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn


def supervised(trainer: nnUNetTrainer, loss: nn.Module) -> nn.Module:
    """`loss` over the outputs of the trainer's network, weighted by its `output_weights` or else as in nnU-Net.

    nnU-Net halves the weights with each resolution and scales them to a sum of one. The lowest resolution has no
    weight, except in distributed training, where each head must get a gradient.
    """
    if not trainer.enable_deep_supervision:
        return loss
    weights: Sequence[float] | None = getattr(trainer, "output_weights", None)
    if weights is None:
        halved = 1 / 2.0 ** np.arange(len(trainer._get_deep_supervision_scales()))
        halved[-1] = 1e-6 if trainer.is_ddp else 0
        weights = halved / halved.sum()
    return DeepSupervisionWrapper(loss, weights)
