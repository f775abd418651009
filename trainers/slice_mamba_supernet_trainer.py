"""SliceMambaSupernetTrainer: the first step of the slicing search; each iteration trains one path of a network."""

import json
from pathlib import Path

import numpy as np
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from nnunet_mamba.networks.slicemamba import DEFAULT_SLICES, SliceMambaSupernet
from nnunet_mamba.search.cases import SEARCH_CASES_FILE, search_cases
from nnunet_mamba.trainers.sizes_in_plans import sizes_in_plans
from nnunet_mamba.trainers.slice_mamba_trainer import SliceMambaRecipe


class SliceMambaSupernetTrainer(SliceMambaRecipe):
    """Trains SliceMamba's supernet (Fan et al., IEEE JBHI 2025): one random path per iteration (single path, one shot).

    The validation cases of the next fold are kept for the search, so that what folds keep together stays together. They
    replace this fold's validation cases, which stay unseen. `search_cases.json` beside the checkpoints lists them.
    """

    path_seed = 0

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        sizes = sizes_in_plans(configuration_manager, "slicemamba_supernet")
        return SliceMambaSupernet(num_input_channels, num_output_channels, **sizes)

    def _do_i_compile(self) -> bool:
        """Never: nearly every iteration takes a new path, which would have to be compiled."""
        return False

    def initialize(self) -> None:
        super().initialize()
        if self.is_ddp:  # nnU-Net's wrapper waits for the gradients of every block, and hangs
            devices = [self.local_rank] if self.device.type == "cuda" else None
            self.network = DistributedDataParallel(self.network.module, devices, find_unused_parameters=True)

    def do_split(self) -> tuple[list[str], list[str]]:
        """The training cases left for the supernet, and the cases kept for the search."""
        training, _ = super().do_split()
        splits = Path(self.preprocessed_dataset_folder_base, "splits_final.json")
        splits = json.loads(splits.read_text()) if splits.is_file() and self.fold != "all" else []
        kept = search_cases(splits, self.fold, list(training))
        return sorted(set(training) - set(kept)), kept

    def on_train_start(self) -> None:
        super().on_train_start()
        if self.local_rank == 0:
            training, kept = self.do_split()
            self.print_to_log_file(f"{len(training)} cases train the supernet, {len(kept)} are kept for the search.")
            Path(self.output_folder, SEARCH_CASES_FILE).write_text(json.dumps(kept, indent=1))

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        # the same in every process of a distributed training, and in a continued one
        self._paths = np.random.default_rng([self.path_seed, self.current_epoch])
        for _ in range(self._before):
            self._draw_path()

    def train_step(self, batch: dict) -> dict:
        self._draw_path()
        return super().train_step(batch)

    def validation_step(self, batch: dict) -> dict:
        self._draw_path()
        return super().validation_step(batch)

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        network = self.bare_network
        network.set_slicing([DEFAULT_SLICES] * len(network.blocks))
        super().perform_actual_validation(save_probabilities)

    def _draw_path(self) -> None:
        network = self.bare_network
        network.set_path(self._paths.integers(len(network.choices), size=len(network.blocks)))
