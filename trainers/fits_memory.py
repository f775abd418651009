"""FitsMemory: a training says what its step will take and what is free, and does not start where it cannot fit."""

import json
import math
import os
from pathlib import Path
from time import time

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id

from nnunet_mamba import __version__, catalogue
from nnunet_mamba.files import replacing
from nnunet_mamba.machine_memory import GIB, GPU, OUTSIDE, RAM, free_ram
from nnunet_mamba.messages import first_line
from nnunet_mamba.trainers.go_on_command import training_command
from nnunet_mamba.trainers.step_memory import StepMemory, count_step, loaders_bytes

IGNORE = "NNUNET_MAMBA_IGNORE_MEMORY"
COUNTED = "step_memory.json"  # beside the folds, which need the same


class FitsMemory(nnUNetTrainer):
    """A trainer that ends before its first step if not even the least that the step takes is free.

    It warns if the step may not fit. NNUNET_MAMBA_IGNORE_MEMORY=1 leaves all of this out. Where the memory cannot be
    counted, a line says so and the training goes on.

    Raises:
        SystemExit: it cannot fit.
    """

    def on_train_start(self) -> None:
        if self.local_rank == 0 and os.environ.get(IGNORE, "0") in ("", "0"):
            if not self.was_initialized:
                self.initialize()
            try:
                advice = self._look_at_memory()
            except Exception as error:  # an estimate must not end a training that might run
                advice = None
                self.print_to_log_file(f"The memory of a training step was not counted: {first_line(error)}")
            if advice:
                self.print_to_log_file(advice)
                raise SystemExit(1)
        super().on_train_start()

    def _look_at_memory(self) -> str | None:
        """Says what is needed and what is free; returns what to do if it cannot fit."""
        start = time()
        least, most = self._count().between(self.device.type)
        seconds = time() - start
        if self.device.type == "cuda":
            kind, free, of_workers = GPU, torch.cuda.mem_get_info(self.device)[0], 0
        else:
            kind, free, of_workers = RAM, free_ram(), loaders_bytes(self)
        self.print_to_log_file(
            f"A training step will take {least / GIB:.1f} to {most / GIB:.1f} GiB of "
            f"{f'RAM, the data workers {of_workers / GIB:.1f}' if kind == RAM else 'GPU memory'}; {free / GIB:.1f} GiB "
            f"are free (estimated in {seconds:.1f} s)"
        )
        room = free - of_workers + self._bytes_there()  # for a step
        if most <= room:
            return None
        how = f"Plan a smaller patch or batch, and train with these plans:\n  {self._plan_command(kind, room)}"
        if least <= room:
            self.print_to_log_file(f"It may not fit, and the system may then kill this training. {how}")
            return None
        anyway = f"To train anyway:\n  {IGNORE}=1 {training_command(self)}"
        return f"It cannot fit, so this training does not start. {how}\n{anyway}"

    def _count(self) -> StepMemory:
        """Of this trainer's step; from the file if that has been counted before. A user's own trainer may change."""
        of = {
            "trainer": type(self).__name__,
            "versions": [__version__, torch.__version__],
            "configuration": self.configuration_manager.configuration,
            "channels": [self.num_input_channels, self.label_manager.num_segmentation_heads, self.batch_size],
            "labels": self.dataset_json["labels"],
        }
        file = Path(self.output_folder_base, COUNTED)
        if type(self).__module__.startswith("nnunet_mamba.") and file.exists():
            known = json.loads(file.read_text())
            if known["of"] == json.loads(json.dumps(of)):
                return StepMemory(**known["bytes"])
        counted = count_step(self)
        with replacing(file) as unfinished:
            unfinished.write_text(json.dumps({"of": of, "bytes": counted._asdict()}, indent=1))
        return counted

    def _bytes_there(self) -> int:
        """What this process holds already of a step's bytes: the weights, and the moments of a continued training."""
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        there = [*self.network.parameters(), *(value for value in moments if isinstance(value, torch.Tensor))]
        return sum(tensor.nbytes for tensor in there)

    def _plan_command(self, kind: str, room: int) -> str:
        """The command that plans a step for `room` bytes, in tenths of a GiB."""
        dataset = str(convert_dataset_name_to_id(self.plans_manager.dataset_name))
        memory = max(0.1, math.floor(10 * (room / GIB + OUTSIDE[kind])) / 10)
        names = {base.__name__ for base in type(self).__mro__}
        entry = next((entry for entry in catalogue.NETWORKS if entry.trainer in names), None)
        if entry is None:  # nnU-Net's own network; its target is for mixed precision
            target = f"{memory if kind == GPU else memory / 2:.1f}"
            words = ["nnUNetv2_plan_experiment", "-d", dataset, "-gpu_memory_target", target]
            return " ".join([*words, "-overwrite_plans_name", f"nnUNetPlans_{target}G"])
        words = ["nnunet_mamba", "plan", "-d", dataset, "--network", entry.key]
        words += ["--ram" if kind == RAM else "--gpu-memory", f"{memory:g}"]
        for size, numbers in self.configuration_manager.configuration.get(entry.sizes_entry, {}).items():
            words += [f"--{size.replace('_', '-')}", *map(str, numbers)]
        return " ".join(words)
