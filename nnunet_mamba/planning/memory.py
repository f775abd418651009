"""How much memory the training of a network takes, for any patch and batch."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache

from nnunet_mamba.ops.projected import separate_projections
from nnunet_mamba.planning.training_step import Sizes, TrainingStep
from nnunet_mamba.trainers.dry_run import peak_bytes, with_what_malloc_keeps


def training_bytes(
    network: str,
    in_channels: int,
    num_classes: int,
    patch_size: Sequence[int],
    batch_size: int,
    sizes: Sizes = (),
    on_gpu: bool = False,
) -> int:
    """The peak of a training step in float32, with weights, gradients, Adam's moments, the batch and all activations.

    Counted tensor by tensor in a training step of the real network and loss with fake tensors. A call takes seconds,
    whatever the patch and batch. "in_use" in benchmarks/results/memory_cpu.json compares it with measurements. On a GPU
    nnU-Net trains in mixed precision, where all activations except the scan's are half as large: the count is then an
    upper bound.

    Args:
        network: a key of the catalogue.
        in_channels: channels of the images.
        num_classes: channels of the logits.
        patch_size: (H, W).
        on_gpu: no GPU engine projects inside the scan, see `ops.projected_scan`.
    """
    return _counted(network, in_channels, num_classes, tuple(map(int, patch_size)), int(batch_size), sizes, on_gpu)[0]


def resident_bytes(
    network: str, in_channels: int, num_classes: int, patch_size: Sequence[int], batch_size: int, sizes: Sizes = ()
) -> int:
    """What a training on a CPU adds to its process at its peak: `training_bytes` and freed memory that malloc keeps."""
    return with_what_malloc_keeps(
        *_counted(network, in_channels, num_classes, tuple(map(int, patch_size)), int(batch_size), sizes)
    )


@lru_cache(maxsize=256)
def _counted(
    network: str,
    in_channels: int,
    num_classes: int,
    patch_size: tuple[int, ...],
    batch_size: int,
    sizes: Sizes,
    on_gpu: bool = False,
) -> tuple[int, int]:
    """Bytes at the peak, and the number of parameters."""
    parameters = 0

    def train() -> None:
        nonlocal parameters
        step = TrainingStep(network, in_channels, num_classes, patch_size, sizes=sizes)
        parameters = sum(x.numel() for x in step.network.parameters())
        step.make_moments()
        step(batch_size)

    with separate_projections() if on_gpu else nullcontext():
        return peak_bytes(train), parameters
