"""How much memory the training of a network takes, for any patch and batch."""

from collections.abc import Sequence
from functools import lru_cache

from nnunet_mamba.planning.dry_run import peak_bytes
from nnunet_mamba.planning.recipes import TrainingStep

GIB = 2**30


def training_bytes(network: str, in_channels: int, num_classes: int, patch_size: Sequence[int], batch_size: int) -> int:
    """The peak of a training step in float32 on a CPU: weights, gradients, Adam's two moments, the batch, and all that the
    forward keeps and the backward makes.

    Counted tensor by tensor in a step with fake tensors, of the network and the loss themselves; a few seconds a call, of
    whatever patch and batch. Within 5 % of what was measured (benchmarks/results/memory_cpu.json). On CUDA, where nnU-Net trains
    in mixed precision, an upper bound: activations are half as large there, but for the scan's.

    Args:
        network: a key of `nnunet_mamba.planning.recipes.RECIPES`.
        in_channels: of the images.
        num_classes: channels of the logits.
        patch_size: (H, W), at least 32 each.
    """
    return _training_bytes(network, in_channels, num_classes, tuple(map(int, patch_size)), int(batch_size))


@lru_cache(maxsize=256)
def _training_bytes(network: str, in_channels: int, num_classes: int, patch_size: tuple[int, ...], batch_size: int) -> int:
    def step_of_a_training() -> None:
        step = TrainingStep(network, in_channels, num_classes, patch_size)
        step.make_moments()
        step(batch_size)

    return peak_bytes(step_of_a_training)


def resident_bytes(network: str, in_channels: int, num_classes: int, patch_size: Sequence[int], batch_size: int) -> int:
    """x"""
    return training_bytes(network, in_channels, num_classes, patch_size, batch_size)
