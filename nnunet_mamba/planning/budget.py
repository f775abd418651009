"""How much memory a training may take, of a GPU or of the machine."""

from typing import NamedTuple

from nnunet_mamba.machine_memory import GIB, GPU, OUTSIDE, RAM, machine_ram

SHARE_OF_RAM = 0.5  # the rest is for the system, other programs and cached data files


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
    try:
        return Budget(round(SHARE_OF_RAM * machine_ram() / GIB, 1), RAM)
    except OSError as error:
        raise ValueError(f"{error}: say how much a training may take, --ram GIB") from None
