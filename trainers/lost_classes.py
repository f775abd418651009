"""LostClasses: a training that loses a class says so."""

import numpy as np
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

NOTHING, LEARNED = 0.01, 0.5  # pseudo Dice
PATIENCE = 10  # epochs


class LostClasses(nnUNetTrainer):
    """A trainer that names each class whose pseudo Dice stays near zero while another class learns.

    It says so once per class, in one line of the log: after 10 epochs below 0.01, or half of a shorter training.
    """

    _named: frozenset[str] = frozenset()

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        super().on_validation_epoch_end(val_outputs)
        history = self.logger.get_value("dice_per_class_or_region", step=None)
        patience = min(PATIENCE, max(1, self.num_epochs // 2))
        if len(history) < patience:
            return
        recent = np.array(history[-patience:], dtype=float)  # NaN: neither in the patches nor predicted
        best = np.nan_to_num(recent[-1]).max()
        if best <= LEARNED:
            return
        for name, dice in zip(self._class_names(), recent.T):
            if (dice < NOTHING).all() and name not in self._named:
                self._named |= {name}
                self.print_to_log_file(
                    f"The class {name} seems to be lost: its pseudo Dice was below {NOTHING} for {patience} epochs, "
                    f"while the best class is at {best:.2f}. Check its value in dataset.json and in the masks; "
                    "if they are right, train longer, or compare with -tr nnUNetTrainer"
                )

    def _class_names(self) -> list[str]:
        """In the order of nnU-Net's pseudo Dice."""
        labels = {_key(value): name for name, value in self.dataset_json["labels"].items()}
        manager = self.label_manager
        classes = manager.foreground_regions if manager.has_regions else manager.foreground_labels
        return [labels[_key(value)] for value in classes]


def _key(value: int | list[int] | tuple[int, ...]) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)
