"""Makes the tests' shared files importable, and sets what must be set before torch and Triton are imported.

OpenMP's idle threads sleep: the tests start processes that share the cores. Without a GPU, Triton's kernels are interpreted.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
sys.path.insert(0, str(Path(__file__).parent))
