"""How much memory a training may take, of a GPU or of the machine."""

import os
from pathlib import Path
from typing import NamedTuple

from nnunet_mamba.planning.memory import GIB
from nnunet_mamba.planning.planner import GPU, RAM

# GiB besides the training step, measured: CUDA's context; Python with torch and nnU-Net (1.0) and two processes that
# augment batches (0.5)
OUTSIDE = {GPU: 0.5, RAM: 1.5}
SHARE_OF_RAM = 0.5  # the rest is for the system, other programs and cached data files
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


class Budget(NamedTuple):
    """`total` GiB of `kind`, GPU memory or RAM, and how much of it a training step may take."""

    total: float
    kind: str

    def __str__(self) -> str:
        return f"{self.total:g} GiB of {'RAM' if self.kind == RAM else 'GPU memory'}"

    @property
    def outside(self) -> float:
        """GiB that a training takes besides its training step."""
        return OUTSIDE[self.kind]

    @property
    def for_step(self) -> float:
        """GiB that a training step may take at its peak."""
        return self.total - self.outside


def budget(gpu_memory: float | None = None, ram: float | None = None) -> Budget:
    """The given one, in GiB; by default the memory of the first GPU, or without a GPU half of the machine's RAM.

    Raises:
        ValueError: both are given, or one is not positive; or the size of the machine's RAM is unknown.
    """
    if gpu_memory is not None and ram is not None:
        raise ValueError(f"got --gpu-memory {gpu_memory:g} and --ram {ram:g}, wanted only one of them")
    for option, given, kind in (("--gpu-memory", gpu_memory, GPU), ("--ram", ram, RAM)):
        if given is not None:
            if not 0 < given < float("inf"):
                raise ValueError(f"{option}: got {given:g}, wanted a size in GiB above 0")
            return Budget(given, kind)
    import torch

    if torch.cuda.is_available():
        return Budget(round(torch.cuda.get_device_properties(0).total_memory / GIB, 1), GPU)
    return Budget(round(SHARE_OF_RAM * machine_ram() / GIB, 1), RAM)


def machine_ram() -> int:
    """Bytes of RAM of this machine, or of the container around this process."""
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        raise ValueError(
            "the size of this machine's RAM is unknown: say how much a training may take, --ram GIB"
        ) from None
    try:
        limit = CGROUP_LIMIT.read_text().strip()
    except OSError:
        return physical
    return min(physical, int(limit)) if limit.isdecimal() else physical
