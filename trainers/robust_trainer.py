"""RobustTrainer: nnU-Net's trainer, but no training is lost to a bad image, a full disk, a second start or a signal."""

from nnunet_mamba.heap import keep_freed_memory
from nnunet_mamba.trainers.best_epoch import BestEpoch
from nnunet_mamba.trainers.class_attributes import ClassAttributes
from nnunet_mamba.trainers.data_workers import DataWorkers
from nnunet_mamba.trainers.finite_steps import FiniteSteps
from nnunet_mamba.trainers.fits_memory import FitsMemory
from nnunet_mamba.trainers.lost_classes import LostClasses
from nnunet_mamba.trainers.one_training import OneTraining
from nnunet_mamba.trainers.progress import Progress
from nnunet_mamba.trainers.stop_and_go import StopAndGo
from nnunet_mamba.trainers.whole_checkpoints import WholeCheckpoints


class RobustTrainer(
    StopAndGo,
    Progress,
    DataWorkers,
    FitsMemory,
    FiniteSteps,
    BestEpoch,
    LostClasses,
    WholeCheckpoints,
    OneTraining,
    ClassAttributes,
):
    """The base of all our trainers. It changes neither network, nor loss, nor recipe."""

    def initialize(self) -> None:
        keep_freed_memory()  # before the network, the first large tensors
        super().initialize()
