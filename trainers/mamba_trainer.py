"""What our trainers of 2-D Mamba networks share: 2-D patches only, their start, frequent checkpoints, supervision."""

from typing import Any

import torch
from torch import nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel

from nnunet_mamba.networks.input_size import SMALLEST
from nnunet_mamba.trainers.class_shares import ClassShares
from nnunet_mamba.trainers.robust_trainer import RobustTrainer


class MambaTrainer(ClassShares, RobustTrainer):
    """Base of the trainers of 2-D networks with an attribute `deep_supervision`.

    A subclass builds the network (`build_network_architecture`), the loss of one output (`build_loss`) and the
    optimiser (`build_optimizer`), all without a trainer: prediction and planning have none. Its
    `_get_deep_supervision_scales` says which sizes the outputs have. nnU-Net does the rest.
    """

    network: nn.Module
    enable_deep_supervision = True
    save_every = 1  # an epoch on a CPU is long, and these checkpoints are small

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        _check_2d(type(self).__name__, plans, configuration)
        super().__init__(plans, configuration, fold, dataset_json, device)

    def _validation_dice(self) -> list[float]:
        """The validation Dice of each epoch so far, for schedules that look at it."""
        return self.logger.get_value("mean_fg_dice", step=None)

    @property
    def bare_network(self) -> Any:
        """The network without the wrappers of distributed training and compilation."""
        network = self.network.module if isinstance(self.network, DistributedDataParallel) else self.network
        return network._orig_mod if isinstance(network, OptimizedModule) else network

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        # after the final validation nnU-Net switches it on, whatever this training uses
        self.bare_network.deep_supervision = enabled and self.enable_deep_supervision


def _check_2d(trainer: str, plans: dict, configuration: str) -> None:
    """Raise ValueError, before any folder is made, unless the patches of `configuration` are 2-D and large enough."""
    settings = plans["configurations"][configuration]
    while "patch_size" not in settings:
        settings = plans["configurations"][settings["inherits_from"]]
    patch_size = settings["patch_size"]
    if len(patch_size) != 2:
        raise ValueError(
            f"{trainer}: got the configuration '{configuration}' with patches of {len(patch_size)} axes, wanted 2: its "
            "network is 2-D. Use the configuration 2d: nnUNetv2_train DATASET 2d FOLD -tr " + trainer
        )
    if min(patch_size) < SMALLEST:
        raise ValueError(
            f"{trainer}: got patch_size {list(patch_size)} in the configuration '{configuration}', wanted at least "
            f"{SMALLEST} per axis: its network pads them to multiples of 32. Set a larger patch_size in the plans file"
        )
