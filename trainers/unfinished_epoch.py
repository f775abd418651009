"""UnfinishedEpoch: a checkpoint in the middle of an epoch, from which `--c` takes the epoch's remaining steps."""

from collections.abc import Sequence
from os.path import join
from time import time

import numpy as np
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

ENTRY = "unfinished_epoch"  # of a checkpoint's "logging": the losses of the steps that were taken


class UnfinishedEpoch(nnUNetTrainer):
    """A trainer that saves checkpoint_latest.pth in long epochs too, and goes on after the steps that it holds.

    nnU-Net's checkpoints are made at the end of an epoch. Here `current_epoch` of such a checkpoint is the epoch that
    is not finished, and its steps so far count: for the epoch's mean loss and for the steps that are left. A
    checkpoint without that entry starts its epoch from the beginning.
    """

    seconds_between_checkpoints = 600
    _losses: list[float]  # of the steps in this epoch
    _before = 0  # of them, those before the checkpoint
    _kept_losses: Sequence[float] = ()  # of the checkpoint, until its epoch goes on

    @property
    def iterations_of_epoch(self) -> int:
        """Those before the checkpoint that this epoch went on from, too."""
        return self._before + self.num_iterations_per_epoch

    def initialize(self) -> None:
        super().initialize()
        self._losses = []
        self._last_checkpoint = time()

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self._losses, self._kept_losses = list(self._kept_losses[: self.num_iterations_per_epoch]), ()
        self._before = len(self._losses)
        if self._before:
            self.print_to_log_file(
                f"Going on after {self._before} of {self.num_iterations_per_epoch} iterations of this epoch"
            )
            self.num_iterations_per_epoch -= self._before
        self._last_checkpoint = time()

    def train_step(self, batch: dict) -> dict:
        result = super().train_step(batch)
        self._losses.append(float(result["loss"]))
        if time() - self._last_checkpoint > self.seconds_between_checkpoints:
            self._save_unfinished_epoch()
            self._last_checkpoint = time()
        return result

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        before = [{"loss": np.array(loss, np.float32)} for loss in self._losses[: self._before]]
        self.num_iterations_per_epoch += self._before
        self._before = 0
        super().on_train_epoch_end(before + train_outputs)

    def on_epoch_end(self) -> None:
        super().on_epoch_end()
        self._losses = []

    def _save_unfinished_epoch(self) -> None:
        logging = self.logger.get_checkpoint()
        logging[ENTRY] = self._losses
        self.current_epoch -= 1  # nnU-Net stores the number of the next epoch
        try:
            self.save_checkpoint(join(self.output_folder, "checkpoint_latest.pth"))
        finally:
            self.current_epoch += 1
            del logging[ENTRY]  # nnU-Net's plot takes it for a value per epoch

    def load_checkpoint(self, *args, **kwargs) -> None:
        super().load_checkpoint(*args, **kwargs)
        logging = self.logger.get_checkpoint()
        self._kept_losses = logging.pop(ENTRY, [])
        for values in logging.values():
            del values[self.current_epoch :]  # logged by the unfinished epoch, and logged again when it goes on
