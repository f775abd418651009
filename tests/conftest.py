"""Makes tests/recorded.py importable, and keeps torch at two threads: the tests run beside others."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
