"""StopAndGo: Ctrl-C or SIGTERM ends a training with a checkpoint and with the command that goes on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os.path import isfile, join
from signal import Signals

import torch
from torch import distributed

from nnunet_mamba.trainers.go_on_command import training_command
from nnunet_mamba.trainers.stop_signals import Stopped, StopSignals
from nnunet_mamba.trainers.unfinished_epoch import UnfinishedEpoch

OLD_FINAL = "checkpoint_final_of_an_earlier_training.pth"


class StopAndGo(UnfinishedEpoch):
    """A trainer that, asked to stop, finishes its step, saves checkpoint_latest.pth and says how to go on.

    The exit status is 130 after Ctrl-C (SIGINT) and 143 after SIGTERM, as SLURM and `kill` send it. A second Ctrl-C
    stops at once, with the checkpoint before. In distributed training all processes stop after the same step.
    """

    _signals = StopSignals()  # of a training that does not run; run_training makes its own
    _saved = _finished = _has_checkpoint = False

    def run_training(self) -> None:
        with self._stoppable():
            super().run_training()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        self._finished = True
        with self._stoppable():
            super().perform_actual_validation(save_probabilities)

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        self._signals = StopSignals()
        with self._signals:
            try:
                yield
            except Stopped as stop:
                self._say_how_to_go_on(Signals(stop.number).name)
                raise

    def load_checkpoint(self, *args, **kwargs) -> None:
        super().load_checkpoint(*args, **kwargs)
        self._has_checkpoint = True

    def save_checkpoint(self, filename: str) -> None:
        super().save_checkpoint(filename)
        self._has_checkpoint = not self.disable_checkpointing

    def on_epoch_start(self) -> None:
        self._signals.waits = True
        super().on_epoch_start()

    def train_step(self, batch: dict) -> dict:
        result = super().train_step(batch)
        self._stop_if_asked()
        return result

    def validation_step(self, batch: dict) -> dict:
        result = super().validation_step(batch)
        self._stop_if_asked()
        return result

    def on_epoch_end(self) -> None:
        super().on_epoch_end()
        if self.current_epoch < self.num_epochs:  # after the last one everything is saved anyway
            self._stop_if_asked()

    def on_train_end(self) -> None:
        super().on_train_end()
        self._finished, self._signals.waits = True, False
        if number := self._asked():
            raise Stopped(number)

    def _stop_if_asked(self) -> None:
        if number := self._asked():
            self._save_unfinished_epoch()
            self._saved = not self.disable_checkpointing
            final = join(self.output_folder, "checkpoint_final.pth")
            if self._saved and self.local_rank == 0 and isfile(final):  # --c would take it instead
                os.replace(final, join(self.output_folder, OLD_FINAL))
                self.print_to_log_file(f"The checkpoint_final.pth of a training before is now {OLD_FINAL}")
            if self.is_ddp:
                distributed.barrier()  # nnU-Net ends all processes when one has ended
            raise Stopped(number)

    def _asked(self) -> int:
        """The signal that asked to stop, in any process of a distributed training; 0 without one."""
        number = self._signals.asked or 0
        if self.is_ddp:
            largest = torch.tensor(number, device=self.device)
            distributed.all_reduce(largest, distributed.ReduceOp.MAX)
            number = int(largest)
        return number

    def _say_how_to_go_on(self, signal: str) -> None:
        if self.local_rank != 0:
            return
        if self._finished:
            said = "The training is finished, its final validation is not. To validate: "
            said += training_command(self, "--val")
        elif self._saved:
            said = f"checkpoint_latest.pth holds {len(self._losses)} of {self.iterations_of_epoch} iterations of epoch "
            said += f"{self.current_epoch}. To go on with the next: {training_command(self, '--c')}"
        elif self._has_checkpoint:
            said = "The last checkpoint is unharmed. To go on from it: " + training_command(self, "--c")
        else:
            said = "There is no checkpoint of this training. To start again: " + training_command(self)
        self.print_to_log_file(f"Stopped by {signal}. {said}")
