"""A training step as nnU-Net takes it, without a trainer: the trainer's class builds network, loss and optimiser."""

from collections.abc import Sequence

import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from torch import nn
from torch.nn.functional import interpolate

from nnunet_mamba import catalogue, trainers

# ("dims", (16, 32, 64, 128)), ...: the `sizes` of a catalogue entry that differ from the published ones
Sizes = tuple[tuple[str, tuple[int, ...]], ...]


def build_network(
    key: str, in_channels: int, num_classes: int, patch_size: Sequence[int], sizes: Sizes = ()
) -> nn.Module:
    """The network `key` of the catalogue, as its trainer trains it.

    Raises:
        ValueError: the network has no such sizes, or refuses them.
    """
    entry = catalogue.network(key)
    if unknown := [name for name, _ in sizes if name not in entry.sizes]:
        others = " or ".join(other.key for other in catalogue.NETWORKS if set(unknown) <= set(other.sizes))
        raise ValueError(f"{', '.join(unknown)}: {entry.network} has no such sizes, wanted --network {others}")
    # nnU-Net rebuilds plans without an "architecture" from an old format
    asked = {"patch_size": list(patch_size), "architecture": {}, entry.sizes_entry: dict(sizes)}
    trainer = getattr(trainers, entry.trainer)
    return trainer.build_network_architecture(
        None, ConfigurationManager(asked), in_channels, num_classes, trainer.enable_deep_supervision
    )


class TrainingStep:
    """Training steps: forward, loss, backward, clipped gradients, optimiser; in mixed precision on CUDA.

    Args:
        network: a key of the catalogue.
        in_channels, num_classes: channels of images and logits.
        patch_size: (H, W).
        device: where the network is made.
        sizes: of the network, if not the published ones.
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
        self.in_channels, self.num_classes, self.device = in_channels, num_classes, device
        self.patch_size = tuple(patch_size)
        trainer = getattr(trainers, catalogue.network(network).trainer)
        with torch.device(device):
            self.network = build_network(network, in_channels, num_classes, self.patch_size, sizes).train()
        self.loss = trainer.build_loss(has_regions=num_classes == 1)
        self.optimizer = trainer.build_optimizer(self.network.parameters(), trainer.initial_lr, trainer.weight_decay)
        self.scaler = torch.amp.GradScaler("cuda") if device == "cuda" else None

    def make_moments(self) -> None:
        """What Adam and AdamW keep for each parameter after a first step, without that step."""
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
            loss = self._loss(images, target)
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

    def _loss(self, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        outputs = self.network(images)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        losses = [self.loss(output, _at_size(target, output.shape[2:])) for output in outputs]
        return torch.stack(losses).sum() if len(losses) > 1 else losses[0]


def _at_size(target: torch.Tensor, size: torch.Size) -> torch.Tensor:
    return target if target.shape[2:] == size else interpolate(target, size)
