"""WholeCheckpoints: a checkpoint file is the old one or the new one, never half of either."""

import os
from pathlib import Path

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_mamba.files import replacing
from nnunet_mamba.messages import first_line


class WholeCheckpoints(nnUNetTrainer):
    """A trainer that writes each checkpoint beside the old one and then renames it.

    nnU-Net 2.8 overwrites the old one: if the disk is full or the process is killed meanwhile, both are lost.

    Raises:
        OSError: the checkpoint could not be written; the old one is unharmed.
    """

    def save_checkpoint(self, filename: str) -> None:
        if self.local_rank != 0 or self.disable_checkpointing:
            super().save_checkpoint(filename)
            return
        for left in Path(filename).parent.glob(f"{Path(filename).name}.*.unfinished"):
            left.unlink(missing_ok=True)  # by a training that was killed: the folder is ours, see OneTraining
        try:
            with replacing(filename) as unfinished:
                super().save_checkpoint(str(unfinished))
        except (OSError, RuntimeError) as error:  # torch raises the latter if a write fails
            before = "The old one is unharmed: free" if os.path.exists(filename) else "Free"
            raise OSError(
                f"{filename}: got {first_line(error)!r} when writing this checkpoint, wanted space and the right to "
                f"write there. {before} space on the disk of nnUNet_results, and go on with nnUNetv2_train ... --c"
            ) from error
