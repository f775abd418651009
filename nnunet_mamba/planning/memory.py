"""How much memory the training of a network takes, for any patch and batch."""

from collections.abc import Sequence
from functools import lru_cache

from nnunet_mamba.planning.dry_run import peak_bytes
from nnunet_mamba.planning.recipes import Sizes, TrainingStep

GIB = 2**30
# What glibc's malloc keeps: a share of what a step allocates and frees, and some bytes anyhow. Chosen by measurements at 64 x 64 in
# batches of 2 and at 192 x 256 in batches of 4; the others in benchmarks/results/memory_cpu.json, "resident", had no part in it.
KEPT_SHARE = 0.3
KEPT_BYTES = 2**25
FLOATS_A_PARAMETER = 4  # itself, its gradient, Adam's two moments


def training_bytes(
    network: str, in_channels: int, num_classes: int, patch_size: Sequence[int], batch_size: int, sizes: Sizes = ()
) -> int:
    """The peak of a training step in float32: weights, gradients, Adam's two moments, the batch, and all that the forward keeps
    and the backward makes.

    Counted tensor by tensor in a step with fake tensors, of the network and the loss themselves; a few seconds a call, whatever
    the patch and the batch. "in_use" in benchmarks/results/memory_cpu.json compares it with what was measured. For a GPU, where
    nnU-Net trains in mixed precision, it is an upper bound: activations are half as large there, but for the scan's.

    Args:
        network: a key of `nnunet_mamba.planning.recipes.RECIPES`.
        in_channels: of the images.
        num_classes: channels of the logits.
        patch_size: (H, W), as the networks take it.
    """
    return _counted(network, in_channels, num_classes, tuple(map(int, patch_size)), int(batch_size), sizes)[0]


def resident_bytes(
    network: str, in_channels: int, num_classes: int, patch_size: Sequence[int], batch_size: int, sizes: Sizes = ()
) -> int:
    """What a training on a CPU adds to its process at the peak: `training_bytes`, and freed memory that glibc's malloc keeps."""
    peak, parameters = _counted(network, in_channels, num_classes, tuple(map(int, patch_size)), int(batch_size), sizes)
    return round(peak + KEPT_SHARE * (peak - FLOATS_A_PARAMETER * 4 * parameters)) + KEPT_BYTES


@lru_cache(maxsize=256)
def _counted(
    network: str, in_channels: int, num_classes: int, patch_size: tuple[int, ...], batch_size: int, sizes: Sizes
) -> tuple[int, int]:
    """Bytes at the peak, and the number of parameters."""
    parameters = 0

    def train() -> None:
        nonlocal parameters
        step = TrainingStep(network, in_channels, num_classes, patch_size, sizes=sizes)
        parameters = sum(x.numel() for x in step.network.parameters())
        step.make_moments()
        step(batch_size)

    return peak_bytes(train), parameters
