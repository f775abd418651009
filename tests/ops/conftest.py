"""What memory holds before a kernel writes there is chance, so these tests start all of it as not a number."""

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def stale_memory(monkeypatch):
    """Scratch memory of the CPU kernels, and tensors that torch leaves empty for them to fill."""
    from nnunet_mamba.ops import cpu

    reserve = cpu._memory

    def stale(threads: int, size: int) -> np.ndarray:
        memory = reserve(threads, size)
        memory[:threads, :size] = np.nan
        return memory

    monkeypatch.setattr(cpu, "_memory", stale)
    torch.use_deterministic_algorithms(True, warn_only=True)  # torch then fills what is empty
    yield
    torch.use_deterministic_algorithms(False)
