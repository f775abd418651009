"""SliceMambaTrainer: SliceMamba with a searched slicing and its authors' recipe, everything else nnU-Net's."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer

from nnunet_mamba.heap import keep_freed_memory
from nnunet_mamba.networks.slicemamba import SliceMamba
from nnunet_mamba.search.result import SLICING_FILE, read_slicing
from nnunet_mamba.trainers.cosine import CosineOfEpoch
from nnunet_mamba.trainers.joined_batch import JoinedLoss
from nnunet_mamba.trainers.mamba_trainer import MambaTrainer
from nnunet_mamba.trainers.sizes_in_plans import sizes_in_plans


class SliceMambaRecipe(MambaTrainer):
    """What the trainers of SliceMamba and its supernet share: optimiser, schedule and loss.

    From the published code: AdamW at 1e-3 with weight decay 1e-2, a cosine down to 1e-5; cross entropy (binary for
    regions) plus Dice, which is nnU-Net's own loss; one output. The published cosine has a period of 100 epochs and so
    ends where it began. Here it falls once, over the whole training.
    """

    enable_deep_supervision = False
    initial_lr = 1e-3
    final_lr = 1e-5
    weight_decay = 1e-2

    @staticmethod
    def build_loss(
        batch_dice: bool = True, ignore_label: int | None = None, has_regions: bool = False, ddp: bool = False
    ) -> nn.Module:
        """nnU-Net's own loss, as its trainer builds it."""
        dice = {"batch_dice": batch_dice, "smooth": 1e-5, "do_bg": has_regions, "ddp": ddp}
        if has_regions:
            ignores = ignore_label is not None
            return DC_and_BCE_loss({}, dice, use_ignore_label=ignores, dice_class=MemoryEfficientSoftDiceLoss)
        return DC_and_CE_loss(dice, {}, ignore_label=ignore_label, dice_class=MemoryEfficientSoftDiceLoss)

    def _build_loss(self) -> nn.Module:
        batch_dice, labels = self.configuration_manager.batch_dice, self.label_manager
        loss: Any = self.build_loss(batch_dice, labels.ignore_label, labels.has_regions, self.is_ddp)
        if self._do_i_compile():
            loss.dc = torch.compile(loss.dc)
        return JoinedLoss(loss, batch_dice, labels.ignore_label) if self.is_ddp else loss

    @staticmethod
    def build_optimizer(parameters: Iterable[Parameter], initial_lr: float, weight_decay: float) -> Optimizer:
        return AdamW(parameters, initial_lr, weight_decay=weight_decay)

    def configure_optimizers(self) -> tuple[Optimizer, CosineOfEpoch]:
        optimizer = self.build_optimizer(self.network.parameters(), self.initial_lr, self.weight_decay)
        return optimizer, CosineOfEpoch(optimizer, self.initial_lr, self.final_lr, self.num_epochs)


class SliceMambaTrainer(SliceMambaRecipe):
    """Trains SliceMamba (Fan et al., IEEE JBHI 2025) on any 2d configuration.

    The slicing is what `nnunet_mamba search` found for this data set, plans, configuration and fold; without a search
    it is (4, 4) everywhere. Checkpoints hold it, so that they need no other file and a continued training keeps its
    slicing. Plans may set another size of the network: `nnunet_mamba plan --network slicemamba --dims ...` writes such
    plans.
    """

    slicing: Sequence[Sequence[int]] | None = None  # a pair (h, w) per block; None: as searched

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,
    ) -> nn.Module:
        keep_freed_memory()  # predictions make the network without a trainer
        return SliceMamba(
            num_input_channels, num_output_channels, **sizes_in_plans(configuration_manager, "slicemamba")
        )

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
            self.print_to_log_file("The slicing is the checkpoint's.")
            self.slicing = self.bare_network.slicing

    def on_train_start(self) -> None:
        if not self.was_initialized:
            self.initialize()
        # pretrained weights bring their own slicing
        self.bare_network.set_slicing(self.slicing)
        super().on_train_start()

    def _searched_slicing(self) -> tuple[tuple[int, int], ...] | None:
        """The result of the search on this fold's supernet, or None without a search.

        Raises:
            ValueError: there are several results, or the file holds no slicing for this network.
        """
        trained = Path(self.output_folder).parent
        *_, plans, configuration = trained.name.split("__")
        found = sorted(trained.parent.glob(f"*__{plans}__{configuration}/fold_{self.fold}/{SLICING_FILE}"))
        if len(found) > 1:
            raise ValueError(
                f"{type(self).__name__}: got the results of several searches, wanted one: "
                f"{', '.join(map(str, found))}. Move all but one away, or derive a trainer that sets `slicing`"
            )
        if not found:
            return None
        slicing = read_slicing(found[0], len(self.bare_network.slicing))
        self.print_to_log_file(f"Slicing from {found[0]}: {slicing}")
        return slicing
