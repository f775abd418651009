"""The memory that a process keeps after it was freed."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory as Linux tells it")
# frees 16 arrays of 16 MiB, in this process or in a forked one, and prints how many MiB of them stay resident
FREED = """
import os, sys
from pathlib import Path
import numpy as np
from nnunet_mamba.heap import keep_freed_memory

def resident():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line)

asked, fork = "keep" in sys.argv, "fork" in sys.argv
kept = keep_freed_memory() if asked else False
if fork and os.fork():
    os.wait()
else:
    before = resident()
    arrays = [np.ones(2**22, np.float32) for _ in range(16)]
    del arrays
    print(kept, (resident() - before) // 1024)
"""


def freed(*asked: str, **environment: str) -> tuple[str, int]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", FREED, *asked]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    kept, resident = done.stdout.split()
    return kept, int(resident)


@pytest.mark.skipif(not hasattr(ctypes.pythonapi, "mallopt"), reason="mallopt is glibc's")
def test_kept_here_and_given_back_in_forked_processes():
    kept, resident = freed("keep")
    assert kept == "True" and resident > 200
    kept, resident = freed("keep", "fork")
    assert kept == "True" and resident < 50


def test_as_usual_unless_asked_and_as_the_user_says():
    assert freed()[1] < 50
    assert freed("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"
