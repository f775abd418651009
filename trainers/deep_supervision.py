"""nnU-Net's weights of the outputs of different resolution, around a loss of ours."""

import numpy as np
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn


def supervised(trainer: nnUNetTrainer, loss: nn.Module) -> nn.Module:
    """`loss` for the outputs that the trainer's network gives: halved with each resolution, one in sum.

    The lowest resolution has no weight, but in distributed training, where each head must get a gradient.
    """
    if not trainer.enable_deep_supervision:
        return loss
    weights = 1 / 2.0 ** np.arange(len(trainer._get_deep_supervision_scales()))
    weights[-1] = 1e-6 if trainer.is_ddp else 0
    return DeepSupervisionWrapper(loss, weights / weights.sum())
