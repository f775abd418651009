"""The command line that goes on with a training."""

import shlex
import sys
from pathlib import Path

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

COMMAND = "nnUNetv2_train"


def training_command(trainer: nnUNetTrainer, flag: str | None = None) -> str:
    """The nnUNetv2_train line of this training, as typed if it was typed; with `flag`, --c or --val, to go on."""
    if Path(sys.argv[0]).stem == COMMAND:
        words = _without_start(sys.argv[1:]) if flag else sys.argv[1:]
    else:
        words = [trainer.plans_manager.dataset_name, trainer.configuration_name, str(trainer.fold)]
        words += ["-tr", type(trainer).__name__, "-p", trainer.plans_manager.plans_name]
        words += ["-device", trainer.device.type]
    return shlex.join([COMMAND, *words, *([flag] if flag else [])])


def _without_start(words: list[str]) -> list[str]:
    """`words` without --c, --val and -pretrained_weights FILE; argparse allows abbreviations of the latter."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-pr"):
            skip = "=" not in word
        elif word not in ("--c", "--val"):
            kept.append(word)
    return kept
