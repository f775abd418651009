"""Progress: how long a training will take, and how far it is."""

import sys
from time import time
from typing import Any

from nnunet_mamba.trainers.unfinished_epoch import UnfinishedEpoch

WARM_UP, STEPS = 10, 20  # the speed is said after 20 steps, and is that of the last ten
VALIDATION_SHARE = 1 / 3  # of a training step's time: a forward without the backward, which takes twice as long


class Progress(UnfinishedEpoch):
    """A trainer that says its speed after 20 steps, and in long epochs how far it is and how long the epoch will take.

    A terminal shows a bar per epoch. Without one, and in the log file, a line comes at most every minute and every
    tenth of an epoch: none in a short epoch, nine in a long one.
    """

    seconds_between_progress = 60
    _bar: Any = None
    _steps, _seconds = 0, 0.0  # of this run, the latter without its first steps
    _epoch_began = _step_began = _last_progress = 0.0
    _last_step = 0

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self._epoch_began = self._step_began = self._last_progress = time()
        self._last_step = self._before
        if self.local_rank == 0 and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                desc=f"Epoch {self.current_epoch}", total=self.iterations_of_epoch, initial=self._before, leave=False
            )

    def train_step(self, batch: dict) -> dict:
        result = super().train_step(batch)
        now = time()
        self._steps += 1
        self._seconds += (now - self._step_began) * (self._steps > WARM_UP)
        self._step_began = now
        if self._steps == STEPS:
            self._say_speed()
        if self._bar is not None:
            self._bar.set_postfix(loss=f"{self._losses[-1]:.4f}", refresh=False)
            self._bar.update()
        step = len(self._losses)
        rare = 10 * (step - self._last_step) >= self.iterations_of_epoch > step
        if rare and now - self._last_progress > self.seconds_between_progress:
            self._last_progress, self._last_step = now, step
            per_step = (now - self._epoch_began) / (step - self._before)
            self.print_to_log_file(
                f"iteration {step} of {self.iterations_of_epoch}, loss {self._losses[-1]:.4f}, {per_step:.3g} s per "
                f"step, {self._time_of(self.iterations_of_epoch - step, 1, per_step)} left in this epoch",
                also_print_to_console=self._bar is None,
            )
        return result

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        if self._bar is not None:
            self._bar.refresh()  # a fast epoch may not have drawn it
            self._bar.close()
            self._bar = None
        super().on_train_epoch_end(train_outputs)

    def print_to_log_file(self, *args, also_print_to_console: bool = True, add_timestamp: bool = True) -> None:
        if self._bar is not None and also_print_to_console:
            self._bar.clear()
        super().print_to_log_file(*args, also_print_to_console=also_print_to_console, add_timestamp=add_timestamp)

    def _say_speed(self) -> None:
        per_step = self._seconds / (STEPS - WARM_UP)
        of_epoch, images = self.iterations_of_epoch, self.configuration_manager.batch_size
        epochs = self.num_epochs - self.current_epoch
        steps = epochs * of_epoch - len(self._losses)
        self.print_to_log_file(
            f"Speed: {per_step:.3g} s per step of {images} images; "
            f"{self._time_of(of_epoch, 1, per_step)} per epoch, {of_epoch * images:,} images; "
            f"{self._time_of(steps, epochs, per_step)} to the end, {steps * images:,} images"
        )

    def _time_of(self, steps: int, validations: int, per_step: float) -> str:
        """Of so many training steps and an epoch's validation so many times."""
        return duration(per_step * (steps + validations * VALIDATION_SHARE * self.num_val_iterations_per_epoch))


def duration(seconds: float) -> str:
    """In words, with two digits or so: 45 s, 38 min, 5.2 h, 26 days."""
    for limit, unit, of_unit in ((90, "s", 1), (90 * 60, "min", 60), (48 * 3600, "h", 3600)):
        if seconds < limit:
            value = seconds / of_unit
            return f"{value:.1f} {unit}" if value < 10 and unit != "s" else f"{value:.0f} {unit}"
    return f"{seconds / 86400:.1f} days"
