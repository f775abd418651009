"""Builds the network of a checkpoint, without running what is in the file."""

import inspect
import io
import warnings
from contextlib import redirect_stdout
from typing import Any

import torch

from nnunet_mamba import catalogue
from nnunet_mamba.checkpoints import read_checkpoint
from nnunet_mamba.messages import first_line
from nnunet_mamba.prediction.model import Folder

STOCK = "nnUNetTrainer"


def read_weights(file: Folder) -> dict[str, Any]:
    """A checkpoint of nnU-Net's, without its optimizer."""
    saved = read_checkpoint(file)
    wanted = ("network_weights", "trainer_name", "init_args")
    if not isinstance(saved, dict) or not all(name in saved for name in wanted):
        raise ValueError(f"{file}: has no {', '.join(wanted)}; wanted a checkpoint that nnUNetv2_train wrote")
    return {name: value for name, value in saved.items() if name not in ("optimizer_state", "logging")}


def trainer_class(name: str) -> type:
    """The trainer: ours and nnU-Net's own by import, another by nnU-Net's search, which takes seconds."""
    try:
        catalogue.find(name)
    except KeyError:
        pass
    else:
        from nnunet_mamba import trainers

        return getattr(trainers, name)
    if name == STOCK:
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        return nnUNetTrainer
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the many modules that the search imports
            return recursive_find_trainer_class_by_name(name)
    except Exception as error:  # a file in the user's own folder of trainers may raise anything
        why = "" if "Could not find" in str(error) else f" ({first_line(error)})"
        raise ValueError(
            f"got a model of the trainer {name}, which nnU-Net does not find here{why}: install the package that has "
            "it, or set nnUNet_extTrainer to the folder of its file"
        ) from error


def build_network(trainer: Any, arguments: tuple, state: dict[str, torch.Tensor]) -> torch.nn.Module:
    if "plans_manager" not in inspect.signature(trainer.build_network_architecture).parameters:
        raise ValueError(
            f"got a model of the trainer {trainer.__name__}, whose build_network_architecture is of an older nnU-Net; "
            "wanted one that takes plans_manager and configuration_manager"
        )
    network = trainer.build_network_architecture(*arguments, enable_deep_supervision=False)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"the checkpoint's weights do not fit the network of {trainer.__name__}: it was written by another version "
            "of the trainer, or plans.json is another model's"
        ) from error
    return network
