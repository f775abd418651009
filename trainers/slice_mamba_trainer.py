"""SliceMambaTrainer: SliceMamba with the slicing that a search found, its authors' recipe, everything else nnU-Net's."""

from pathlib import Path

import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch.optim import AdamW, Optimizer

from nnunet_mamba.networks import SliceMamba
from nnunet_mamba.search.result import SLICING_FILE, read_slicing
from nnunet_mamba.trainers.cosine import CosineOfEpoch
from nnunet_mamba.trainers.joined_batch import JoinedLoss
from nnunet_mamba.trainers.mamba_trainer import MambaTrainer

SIZES_IN_PLANS = "slicemamba"  # an entry of a configuration, which nnU-Net's own trainers do not see
SIZES = ("dims", "depths", "depths_decoder")


class SliceMambaRecipe(MambaTrainer):
    """What the trainers of SliceMamba and of its supernet share: the optimiser, the schedule and the loss.

    From the published code: AdamW at 1e-3 with weight decay 1e-2, a cosine down to 1e-5; cross entropy (binary for regions) plus
    Dice, which is nnU-Net's own loss; one output. The published cosine swings with a period of 100 epochs and so ends where it
    began; here it falls once, over the whole training.
    """

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = False
        self.initial_lr = 1e-3
        self.final_lr = 1e-5
        self.weight_decay = 1e-2

    def _build_loss(self) -> nn.Module:
        loss = super()._build_loss()
        if self.is_ddp:
            return JoinedLoss(loss, self.configuration_manager.batch_dice, self.label_manager.ignore_label)
        return loss

    def configure_optimizers(self) -> tuple[Optimizer, CosineOfEpoch]:
        optimizer = AdamW(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, CosineOfEpoch(optimizer, self.initial_lr, self.final_lr, self.num_epochs)


class SliceMambaTrainer(SliceMambaRecipe):
    """Trains SliceMamba (Fan et al., IEEE JBHI 2025) on any 2d configuration.

    The slicing is what `nnunet_mamba search` found for this data set, plans, configuration and fold, or (4, 4) everywhere where
    there was no search. It becomes part of the checkpoints, which need no other file: a training that goes on keeps its slicing.
    Plans may ask for a network of another size: `nnunet_mamba plan --network slicemamba --dims ...` writes such plans.
    """

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.slicing = None  # a pair (h, w) for each block; None: as searched

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        return SliceMamba(num_input_channels, num_output_channels, **sizes_in_plans(configuration_manager))

    def initialize(self) -> None:
        super().initialize()
        if self.slicing is None:
            self.slicing = self._searched_slicing()
        if self.slicing is None:
            self.print_to_log_file("No search was run for this fold: default slicing, (4, 4) in every block.")
            self.slicing = self.bare_network.slicing
        self.bare_network.set_slicing(self.slicing)

    def load_checkpoint(self, *args, **kwargs) -> None:
        super().load_checkpoint(*args, **kwargs)
        if self.bare_network.slicing != self.slicing:
            self.print_to_log_file("The slicing is that of the checkpoint.")
            self.slicing = self.bare_network.slicing

    def on_train_start(self) -> None:
        if not self.was_initialized:
            self.initialize()
        # pretrained weights come with the slicing that they were trained with
        self.bare_network.set_slicing(self.slicing)
        super().on_train_start()

    def _searched_slicing(self) -> tuple[tuple[int, int], ...] | None:
        """Of the search on the supernet of this fold.

        Raises:
            ValueError: searches on several supernets, or a file that holds no slicing for this network.
        """
        trained = Path(self.output_folder).parent
        *_, plans, configuration = trained.name.split("__")
        found = sorted(trained.parent.glob(f"*__{plans}__{configuration}/fold_{self.fold}/{SLICING_FILE}"))
        if len(found) > 1:
            raise ValueError(
                f"{type(self).__name__}: got the results of several searches, wanted one: {', '.join(map(str, found))}. "
                "Move all but one away, or derive a trainer that sets self.slicing in __init__"
            )
        if not found:
            return None
        slicing = read_slicing(found[0], len(self.bare_network.slicing))
        self.print_to_log_file(f"Slicing from {found[0]}: {slicing}")
        return slicing


def sizes_in_plans(configuration_manager: ConfigurationManager) -> dict:
    """`dims`, `depths` and `depths_decoder` that the plans' configuration asks for; the others are as published.

    Raises:
        ValueError: it asks for anything else.
    """
    sizes = configuration_manager.configuration.get(SIZES_IN_PLANS, {})
    if unknown := set(sizes) - set(SIZES):
        raise ValueError(f"plans, {SIZES_IN_PLANS}: got {', '.join(sorted(unknown))}, wanted any of {', '.join(SIZES)}")
    return sizes


class SliceMambaTrainer_5epochs(SliceMambaTrainer):
    """SliceMambaTrainer for 5 epochs."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 5


class SliceMambaTrainer_50epochs(SliceMambaTrainer):
    """SliceMambaTrainer for 50 epochs."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 50


class SliceMambaTrainer_250epochs(SliceMambaTrainer):
    """SliceMambaTrainer for 250 epochs."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 250
