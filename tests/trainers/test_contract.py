"""What our trainers need of nnU-Net's: a failure here names what changed in the installed version, and who needs it."""

import ast
import importlib
import importlib.metadata
import inspect
import textwrap
from pathlib import Path

import pytest
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_mamba import catalogue, trainers

VERSION = importlib.metadata.version("nnunetv2")
TRAINERS = [getattr(trainers, name + ending) for name in catalogue.names() for ending in ("", "_7epochs")]
# parameters after self, as in nnU-Net 2.8.0 and 2.8.1
METHODS = {
    "__init__": "plans configuration fold dataset_json device",
    "initialize": "",
    "build_network_architecture": (
        "plans_manager configuration_manager num_input_channels num_output_channels enable_deep_supervision"
    ),
    "_build_loss": "",
    "_do_i_compile": "",
    "_get_deep_supervision_scales": "",
    "_save_debug_information": "",
    "configure_optimizers": "",
    "set_deep_supervision_enabled": "enabled",
    "do_split": "",
    "get_dataloaders": "",
    "print_to_log_file": "args also_print_to_console add_timestamp",
    "on_train_start": "",
    "on_train_end": "",
    "on_epoch_start": "",
    "on_train_epoch_start": "",
    "train_step": "batch",
    "on_train_epoch_end": "train_outputs",
    "on_validation_epoch_start": "",
    "validation_step": "batch",
    "on_validation_epoch_end": "val_outputs",
    "on_epoch_end": "",
    "save_checkpoint": "filename",
    "load_checkpoint": "filename_or_checkpoint",
    "perform_actual_validation": "save_probabilities",
    "run_training": "",
}
ATTRIBUTES = [
    "batch_size",
    "configuration_manager",
    "configuration_name",
    "current_epoch",
    "dataset_class",
    "dataset_json",
    "dataloader_train",
    "device",
    "disable_checkpointing",
    "enable_deep_supervision",
    "fold",
    "grad_scaler",
    "initial_lr",
    "is_ddp",
    "label_manager",
    "local_rank",
    "logger",
    "loss",
    "lr_scheduler",
    "network",
    "num_epochs",
    "num_iterations_per_epoch",
    "num_val_iterations_per_epoch",
    "optimizer",
    "output_folder",
    "plans_manager",
    "preprocessed_dataset_folder",
    "preprocessed_dataset_folder_base",
    "save_every",
    "weight_decay",
    "_best_ema",
]
LOGGER = {"log": "key value step", "get_value": "key step", "get_checkpoint": "", "load_checkpoint": "checkpoint"}
# what a method of nnU-Net must do for ours around it: (method, what its source calls or names)
RELIED_ON = [
    ("train_step", "self.network", "FiniteSteps keeps the statistics of the network that the step runs"),
    ("train_step", "self.optimizer.step", "FiniteSteps looks at the gradients when the optimiser is called"),
    ("train_step", "self.grad_scaler.step", "FiniteSteps leaves it to the scaler to look at the gradients"),
    ("train_step", "self.grad_scaler.update", "FiniteSteps takes back the scale that a bad image lowered"),
    ("save_checkpoint", "torch.save", "WholeCheckpoints takes what was written under another name and renames it"),
    ("on_epoch_end", "self._best_ema", "BestEpoch forgets a best that is NaN"),
    ("load_checkpoint", "self.current_epoch", "MambaTrainer cuts the log there"),
    ("initialize", "self.build_network_architecture", "our networks are built there"),
    ("initialize", "self.configure_optimizers", "FiniteSteps registers with the optimiser made there"),
    ("run_training", "self.train_step", "ours prints and saves on its way"),
]
ROOT = Path(__file__).resolve().parents[2]
IMPORTED = sorted(
    {
        (node.module, alias.name)
        for folder in ("nnunet_mamba", "trainers", "dataset_conversion")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "nnunetv2"
        for alias in node.names
    }
)


def parameters(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]


def moved(what):
    return f"nnunetv2 {VERSION}: {what}. Find what replaces it, and change our trainers that override or call it"


@pytest.mark.parametrize("name", METHODS)
def test_methods_take_what_they_took(name):
    method = getattr(nnUNetTrainer, name, None)
    assert method is not None, moved(f"nnUNetTrainer.{name} is gone")
    assert parameters(method) == METHODS[name].split(), moved(f"nnUNetTrainer.{name} takes {parameters(method)} now")


def test_build_network_architecture_is_called_without_a_trainer():
    assert isinstance(inspect.getattr_static(nnUNetTrainer, "build_network_architecture"), staticmethod), moved(
        "build_network_architecture is no staticmethod now"
    )


@pytest.mark.parametrize("name", LOGGER)
def test_the_logger_takes_what_it_took(name):
    method = getattr(MetaLogger, name, None)
    assert method is not None, moved(f"MetaLogger.{name} is gone")
    assert parameters(method) == LOGGER[name].split(), moved(f"MetaLogger.{name} takes {parameters(method)} now")


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_attributes_are_set(name):
    tree = ast.parse(textwrap.dedent(inspect.getsource(nnUNetTrainer)))
    stored = {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    assert name in stored, moved(f"nnUNetTrainer sets no attribute {name} any more")


@pytest.mark.parametrize(("method", "used", "reason"), RELIED_ON, ids=lambda value: str(value)[:40])
def test_methods_do_what_ours_rely_on(method, used, reason):
    tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(nnUNetTrainer, method))))
    names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert used in names, moved(f"nnUNetTrainer.{method} uses no {used} any more, and {reason}")


@pytest.mark.parametrize(("module", "name"), IMPORTED)
def test_what_ours_import_is_there(module, name):
    assert hasattr(importlib.import_module(module), name), moved(f"{module} has no {name} any more")


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.__name__)
def test_ours_take_what_nnunet_gives(trainer):
    """Each override accepts every argument of what it overrides, by position; and each is in the table above."""
    for name in {name for cls in trainer.__mro__ if cls.__module__.startswith("nnunet_mamba.") for name in vars(cls)}:
        ours, theirs = getattr(trainer, name), getattr(nnUNetTrainer, name, None)
        if theirs is None or not inspect.isfunction(ours) or not inspect.isfunction(theirs):
            continue
        assert name in METHODS, f"{trainer.__name__} overrides {name}: add it to the table of this test"
        static = isinstance(inspect.getattr_static(nnUNetTrainer, name), staticmethod)
        given = [object()] * (len(parameters(theirs)) + (not static))
        try:
            inspect.signature(ours).bind(*given)
        except TypeError as error:
            pytest.fail(
                moved(
                    f"{trainer.__name__}.{name} takes {parameters(ours)}, nnU-Net gives {parameters(theirs)} ({error})"
                )
            )


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda trainer: trainer.__name__)
def test_the_constructor_names_what_nnunet_reads(trainer):
    """nnU-Net reads its own local variables by the names of our parameters."""
    assert parameters(trainer.__init__) == METHODS["__init__"].split()
