"""Makes the tests' shared files importable, sets what must be set before torch and Triton are imported, and seeds each test.

OpenMP's idle threads sleep: the tests start processes that share the cores. Without a GPU, Triton's kernels are interpreted.
"""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(
    str(Path(__file__).parents[1])
)  # processes that a test starts find its module as pytest names it, from here


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Each test, with its fixtures, draws the same numbers alone, in any order, and beside any others."""
    import numpy as np
    import torch  # here, where the environment is set

    np.random.seed(0)  # nnU-Net's loaders
    torch.manual_seed(0)
