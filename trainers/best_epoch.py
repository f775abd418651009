"""BestEpoch: an epoch without a Dice does not end the search for the best checkpoint."""

import numpy as np
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class BestEpoch(nnUNetTrainer):
    """A trainer whose moving average of the validation Dice skips epochs that have none.

    If no validation patch has a foreground label, in the truth or the prediction, as in a fold without that label,
    Dice is 0 / 0. In nnU-Net 2.8 the moving average is then NaN for good. Nothing is better than NaN, so
    checkpoint_best.pth never changes.
    """

    _best_ema: float | None

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        super().on_validation_epoch_end(val_outputs)
        average = self.logger.get_value("ema_fg_dice", step=None)
        before = [value for value in average[:-1] if np.isfinite(value)]
        if not np.isfinite(average[-1]) and before:
            average[-1] = before[-1]
        elif len(average) > 1 and not before:  # the first epoch with a Dice
            average[-1] = self.logger.get_value("mean_fg_dice", step=-1)

    def on_epoch_end(self) -> None:
        if self._best_ema is not None and not np.isfinite(self._best_ema):
            self._best_ema = None  # so that the first epoch with a Dice is the best
        super().on_epoch_end()
