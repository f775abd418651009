"""RobustTrainer: nnU-Net's trainer, but no training is lost to one bad image, a full disk or a second start."""

from nnunet_mamba.trainers.best_epoch import BestEpoch
from nnunet_mamba.trainers.class_attributes import ClassAttributes
from nnunet_mamba.trainers.finite_steps import FiniteSteps
from nnunet_mamba.trainers.lost_classes import LostClasses
from nnunet_mamba.trainers.one_training import OneTraining
from nnunet_mamba.trainers.whole_checkpoints import WholeCheckpoints


class RobustTrainer(FiniteSteps, BestEpoch, LostClasses, WholeCheckpoints, OneTraining, ClassAttributes):
    """The base of all our trainers. It changes neither network, nor loss, nor recipe."""
