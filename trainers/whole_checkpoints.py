"""WholeCheckpoints: a checkpoint file is the old one or the new one, never half of either."""

import os

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class WholeCheckpoints(nnUNetTrainer):
    """A trainer that writes each checkpoint beside its place and then renames it.

    nnU-Net 2.8 writes over the checkpoint before: where the disk is full or the process is killed on the way, both are gone.

    Raises:
        OSError: the checkpoint could not be written; the one before is in its place.
    """

    def save_checkpoint(self, filename: str) -> None:
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        unfinished = f"{filename}.unfinished"
        try:
            super().save_checkpoint(unfinished)
            with open(unfinished, "r+b") as file:
                os.fsync(file.fileno())
            os.replace(unfinished, filename)
        except (OSError, RuntimeError) as error:  # torch raises the latter where a write fails
            if os.path.exists(unfinished):
                os.remove(unfinished)
            before = "The one before is unharmed: free" if os.path.exists(filename) else "Free"
            raise OSError(
                f"{filename}: got {str(error).splitlines()[0]!r} when writing this checkpoint, wanted space and the right to write "
                f"there. {before} space on the disk of nnUNet_results, and go on with nnUNetv2_train ... --c"
            ) from error
