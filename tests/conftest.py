"""Makes tests/helpers importable, sets what torch and Triton read at import, and seeds each test.

The cores are shared by pytest's workers and by the processes that tests start, so each computes on one thread. glibc
keeps the pages of freed tensors: getting them again would cost a fifth of the time. Without a GPU, Triton interprets
its kernels. Signals are handled as in a terminal, also if a shell runs the tests in the background and ignores them.
"""

import os
import signal
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # this and the next are read when torch is first imported
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MALLOC_MMAP_MAX_", "0")  # this and the next are read when a process starts: pytest's workers
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "100000000000")
os.environ.setdefault("NNUNET_MAMBA_IGNORE_MEMORY", "1")  # counted for seconds per training, see test_fits_memory.py
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1]))  # child processes of a test import its module from here


def pytest_addoption(parser):
    parser.addoption("--exhaustive", action="store_true", help="also the tests marked so: minutes more")


def pytest_collection_modifyitems(config, items):
    """Folders that train go first: a long file at the end would leave the other process without work."""
    items.sort(key=lambda item: item.path.parent.name not in ("benchmarks", "search", "trainers"))
    if not config.getoption("exhaustive"):
        left_out = [item for item in items if item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """A test and its fixtures draw the same random numbers in any order and selection of tests."""
    import numpy as np
    import torch  # after the environment is set

    np.random.seed(0)  # nnU-Net's loaders
    torch.manual_seed(0)
