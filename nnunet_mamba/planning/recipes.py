"""What each trainer trains, as far as memory goes: its network, its loss and its optimiser."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from torch import Tensor, nn

from nnunet_mamba.losses import ASFMLoss, GuideFusionLoss
from nnunet_mamba.networks import DAMambaNet, DermoMamba, SliceMamba, SliceMambaSupernet


class Recipe(NamedTuple):
    """A trainer's name and its network's, and how they are made: `network(in_channels, num_classes, patch_size, **sizes)`,
    `loss(num_classes)`.
    """

    trainer: str
    name: str
    network: Callable[[int, int, Sequence[int]], nn.Module]
    loss: Callable[[int], nn.Module]


class _Summed(nn.Module):
    """ASFM loss over the three outputs."""

    def __init__(self):
        super().__init__()
        self.loss = ASFMLoss()

    def forward(self, outputs: list[Tensor], target: Tensor) -> Tensor:
        return sum(self.loss(output, target) for output in outputs)


def _nnunets_loss(num_classes: int) -> nn.Module:
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": num_classes == 1, "ddp": False}
    if num_classes == 1:  # a region
        return DC_and_BCE_loss({}, dice, dice_class=MemoryEfficientSoftDiceLoss)
    return DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)


RECIPES = {
    "da_mambanet": Recipe("DAMambaTrainer", "DAMambaNet", DAMambaNet, lambda classes: _Summed()),
    "dermomamba": Recipe(
        "DermoMambaTrainer",
        "DermoMamba",
        lambda channels, classes, size: DermoMamba(channels, classes, size, deep_supervision=False),
        lambda classes: GuideFusionLoss(),
    ),
    "slicemamba": Recipe(
        "SliceMambaTrainer",
        "SliceMamba",
        lambda channels, classes, size, **sizes: SliceMamba(channels, classes, **sizes),
        _nnunets_loss,
    ),
    "slicemamba_supernet": Recipe(
        "SliceMambaSupernetTrainer",
        "SliceMambaSupernet",
        lambda channels, classes, size, **sizes: SliceMambaSupernet(channels, classes, **sizes),
        _nnunets_loss,
    ),
}
Sizes = tuple[
    tuple[str, tuple[int, ...]], ...
]  # ("dims", (16, 32, 64, 128)), ... of the networks whose size is not fixed


def check_sizes(network: str, sizes: Sizes) -> None:
    """Whether the network can be built so.

    Raises:
        ValueError: `network` has one size only, or is refused by its own checks.
    """
    if not sizes:
        return
    if not network.startswith("slicemamba"):
        given = ", ".join(name for name, _ in sizes)
        raise ValueError(f"{given}: {RECIPES[network].name} has one size, only SliceMamba has others")
    RECIPES[network].network(3, 2, (32, 32), **dict(sizes))


class TrainingStep:
    """Steps of a training as nnU-Net takes them: forward, loss, backward, clipped gradients, Adam; mixed precision on CUDA.

    Args:
        network: a key of `RECIPES`.
        in_channels, num_classes: of images and logits.
        patch_size: (H, W).
        device: where the network is made.
        sizes: of the network, where they are not the published ones.
    """

    def __init__(
        self,
        network: str,
        in_channels: int,
        num_classes: int,
        patch_size: Sequence[int],
        device: str = "cpu",
        sizes: Sizes = (),
    ):
        recipe = RECIPES[network]
        self.in_channels, self.num_classes, self.patch_size, self.device = (
            in_channels,
            num_classes,
            tuple(patch_size),
            device,
        )
        with torch.device(device):
            self.network = recipe.network(in_channels, num_classes, self.patch_size, **dict(sizes)).train()
        self.loss = recipe.loss(num_classes)
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.scaler = torch.amp.GradScaler("cuda") if device == "cuda" else None

    def make_moments(self) -> None:
        """What Adam keeps for each parameter after a first step, without such a step."""
        for parameter in self.network.parameters():
            if parameter.requires_grad:
                first, second = torch.zeros_like(parameter), torch.zeros_like(parameter)
                self.optimizer.state[parameter] = {"step": torch.tensor(1.0), "exp_avg": first, "exp_avg_sq": second}

    def __call__(self, batch_size: int) -> None:
        """One step with a batch of noise."""
        images = torch.randn(batch_size, self.in_channels, *self.patch_size, device=self.device)
        target = torch.zeros(batch_size, 1, *self.patch_size, device=self.device)
        target[..., : self.patch_size[1] // 2] = 1
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", enabled=True) if self.scaler else torch.autocast("cpu", enabled=False):
            loss = self.loss(self.network(images), target)
        if self.scaler:
            self.scaler.scale(loss).backward()
            self.scaler.unscale_(self.optimizer)
        else:
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        if self.scaler:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
