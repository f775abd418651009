"""Makes tests/recorded.py importable, and lets OpenMP's idle threads sleep: the tests start processes that share the cores."""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported
sys.path.insert(0, str(Path(__file__).parent))
