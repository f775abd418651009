"""Makes tests/helpers importable, sets what torch and Triton read at import, and seeds each test.

OpenMP's idle threads sleep, because tests start processes that share the cores. Without a GPU, Triton interprets its
kernels.
"""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported
os.environ.setdefault("NNUNET_MAMBA_IGNORE_MEMORY", "1")  # counted for seconds per training, see test_fits_memory.py
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1]))  # child processes of a test import its module from here


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """A test and its fixtures draw the same random numbers in any order and selection of tests."""
    import numpy as np
    import torch  # after the environment is set

    np.random.seed(0)  # nnU-Net's loaders
    torch.manual_seed(0)
