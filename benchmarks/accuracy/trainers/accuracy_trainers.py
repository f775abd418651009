"""The benchmark's trainers: any trainer of ours or nnU-Net's own, for so many iterations, with a seed.

    export nnUNet_extTrainer=benchmarks/accuracy/trainers
    nnUNetv2_train 501 2d 0 -tr nnUNetTrainer_12epochs_50iterations_seed0

NAME_12epochs_50iterations_seed0 is NAME for 12 epochs of 50 iterations. NAME_nnunetloss_12epochs_50iterations_seed0 has
nnU-Net's loss, Dice and cross entropy, on each of the outputs that NAME trains; NAME_poly_... has nnU-Net's schedule
from NAME's first rate; NAME_crossentropy_... has cross entropy beside ASFM with one class, too; NAME_average_...
predicts with an average of the weights; NAME_rate_... has three times NAME's first rate, NAME_tenfold_... ten times.
NAME_rate_poly_average_... has all three. All else stays NAME's.

nnU-Net imports this file by its bare name and asks whether it has the class.
"""

import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
from datetime import datetime
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

NAME = re.compile(
    r"(?P<trainer>\w+?)(?P<changes>(?:_(?:nnunetloss|crossentropy|rate|tenfold|poly|average))*)"
    r"_(?P<epochs>[1-9]\d*)epochs_(?P<iterations>[1-9]\d*)iterations_seed(?P<seed>\d+)"
)
RECORD = "accuracy_run.json"  # in the fold's folder
REPOSITORY = Path(__file__).resolve().parents[3]
MEASURED = "nnunet_mamba", "trainers", "dataset_conversion", "benchmarks/accuracy"  # what a commit is recorded for
VERSIONS = "nnunet-mamba", "nnunetv2", "torch"


def __getattr__(name: str) -> type:
    match = NAME.fullmatch(name)
    if match is None:
        raise AttributeError(f"module {__name__!r} has no trainer {name!r}")
    return make(name, *match.groups())


@cache
def make(name: str, trainer: str, changes: str, epochs: str, iterations: str, seed: str) -> type:
    """The class called `name`.

    Raises:
        AttributeError: `trainer` is neither `nnUNetTrainer` nor one of ours.
    """
    attributes = {
        "__module__": __name__,
        "__doc__": f"{trainer}, {epochs} epochs of {iterations} iterations, seed {seed}.",
        "num_epochs": int(epochs),
        "num_iterations_per_epoch": int(iterations),
        "num_val_iterations_per_epoch": max(1, int(iterations) // 5),  # as many to one as in nnU-Net
        "save_every": 1,  # a training that was killed goes on
        "seed": int(seed),
    }
    bases = _measured(), *(CHANGES[change]() for change in changes.split("_")[1:]), _base(trainer)
    return type(name, bases, attributes)


def _base(trainer: str) -> type:
    if trainer == "nnUNetTrainer":
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

        return nnUNetTrainer
    from nnunet_mamba import trainers

    return getattr(trainers, trainer)


@cache
def _with_nnunet_loss() -> type:
    from nnunet_mamba.trainers.deep_supervision import supervised
    from nnunet_mamba.trainers.slice_mamba_trainer import SliceMambaRecipe

    class WithNnUNetLoss:
        """Dice and cross entropy as nnU-Net builds them, with the weights of the outputs that the trainer has."""

        def _build_loss(self):
            labels = self.label_manager
            loss = SliceMambaRecipe.build_loss(
                self.configuration_manager.batch_dice, labels.ignore_label, labels.has_regions, self.is_ddp
            )
            return supervised(self, loss)

    return WithNnUNetLoss


def _with_nnunet_schedule() -> type:
    from nnunet_mamba.trainers.falling_rate import FallingRate

    return FallingRate


@cache
def _with_cross_entropy() -> type:
    class WithCrossEntropy:
        """ASFM's form for several classes, with one, too."""

        asfm_index, asfm_cross_entropy = "root", 1

    return WithCrossEntropy


@cache
def _with_rate(times: int) -> type:
    class WithRate:
        """So many times the rate that the trainer after it among the bases has."""

        def __init_subclass__(cls, **kwargs) -> None:
            super().__init_subclass__(**kwargs)
            cls.initial_lr = times * super().initial_lr

    return WithRate


def _with_average() -> type:
    from nnunet_mamba.trainers.averaged_weights import AveragedWeights

    return AveragedWeights


CHANGES = {
    "nnunetloss": _with_nnunet_loss,
    "crossentropy": _with_cross_entropy,
    "rate": partial(_with_rate, 3),
    "tenfold": partial(_with_rate, 10),
    "poly": _with_nnunet_schedule,
    "average": _with_average,
}


@cache
def _measured() -> type:
    import numpy as np
    import torch
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunet

    from nnunet_mamba.trainers.class_attributes import ClassAttributes
    from nnunet_mamba.trainers.go_on_command import training_command

    def plant(*numbers: int) -> int:
        """Seed all generators of this process with what `numbers` give together; returns that."""
        seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        return seed

    class Measured(ClassAttributes):
        """A trainer with a `seed`, which records what its steps take and where its numbers come from.

        The seed gives the weights, and per epoch the batches and what augmentation does to them. So a training that
        went on after an epoch sees the same batches as one that was not stopped. With data workers each of them is
        seeded, but which one is first is left to chance; with nnUNet_n_proc_DA=0 nothing is.
        """

        seed: int

        def initialize(self) -> None:
            if threads := os.environ.get("OMP_NUM_THREADS"):
                torch.set_num_threads(int(threads))  # nnU-Net's command takes all cores of the machine
            plant(self.seed)
            self._durations: list[float] = []  # of this process
            self._last: float | None = None
            super().initialize()

        def get_dataloaders(self):
            usual = nnunet.NonDetMultiThreadedAugmenter
            first = plant(self.seed, self.current_epoch)

            def seeded(**arguments):
                seeds = [(first + worker) % 2**32 for worker in range(arguments["num_processes"])]
                return usual(**arguments | {"seeds": seeds})

            nnunet.NonDetMultiThreadedAugmenter = seeded
            try:
                return super().get_dataloaders()
            finally:
                nnunet.NonDetMultiThreadedAugmenter = usual

        def on_train_start(self) -> None:
            super().on_train_start()
            self._is_new = self.current_epoch == 0 and not getattr(self, "_kept_losses", ())  # of an unfinished epoch
            self._run = {
                "command": training_command(self),
                "commit": commit(),
                "versions": {name: version(name) for name in VERSIONS},
                "started": datetime.now().isoformat(timespec="milliseconds"),
                "device": self.device.type,
                "processor": processor_of(self.device.type),
                "threads": torch.get_num_threads(),
                "first_epoch": self.current_epoch,
            }
            self._record()

        def on_train_epoch_start(self) -> None:
            super().on_train_epoch_start()
            plant(self.seed, self.current_epoch, getattr(self, "_before", 0))
            self._last = perf_counter()

        def train_step(self, batch: dict) -> dict:
            result = super().train_step(batch)  # nnU-Net's own reads the loss, so the device has finished
            now = perf_counter()
            self._durations.append(now - self._last)
            self._last = now
            return result

        def on_epoch_end(self) -> None:
            super().on_epoch_end()
            self._record()

        def _record(self) -> None:
            from nnunet_mamba.files import replacing

            self._run |= {
                "steps": len(self._durations),
                "seconds_per_step": statistics.median(self._durations) if self._durations else None,
                "peak_bytes": self._peak_bytes(),
            }
            file = Path(self.output_folder, RECORD)
            before = json.loads(file.read_text())["runs"] if file.exists() and not self._is_new else []
            runs = [run for run in before if run["started"] != self._run["started"]]
            content = {
                "seed": self.seed,
                "epochs": self.num_epochs,
                "images_seen": self.current_epoch * self.num_iterations_per_epoch * self.batch_size,
                "patch_size": [int(length) for length in self.configuration_manager.patch_size],
                "batch_size": self.batch_size,
                "parameters": sum(weight.numel() for weight in self.network.parameters()),
                "runs": [*runs, self._run],
            }
            with replacing(file) as unfinished:
                unfinished.write_text(json.dumps(content, indent=1))

        def _peak_bytes(self) -> int:
            """The most that this process has held: tensors on a GPU, else the resident memory, without data workers."""
            if self.device.type == "cuda":
                return torch.cuda.max_memory_allocated()
            held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            return held if sys.platform == "darwin" else 1024 * held

    return Measured


def processor_of(device: str) -> str:
    """The GPU's name; of a CPU the instructions that torch uses, which say most about its speed."""
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else f"CPU ({torch.backends.cpu.get_cpu_capability()})"


def commit() -> str:
    """The commit of this repository, with `+` if files of the project differ from it; "unknown" without git."""
    git = ["git", "-C", str(REPOSITORY)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--", *MEASURED], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")
