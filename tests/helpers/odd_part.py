"""A part for on_gpu.py whose rows end in every way that a row can end; the environment says which of them to run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

if os.environ.get("ODD_BROKEN") == "import":
    raise ImportError("broken at import")


def _raise():
    raise ValueError("a first line\n\na second")


def _miss():
    from gpu.report import Missed

    raise Missed("too slow", {"figure": 2})


def _leave_out():
    from gpu.report import LeftOut

    raise LeftOut("no such package")


def _start_another():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(os.environ["ODD_PID"]).write_text(str(child.pid))
    time.sleep(600)


ROWS = {
    "good": lambda: {"figure": 1},
    "raises": _raise,
    "misses": _miss,
    "missing": _leave_out,
    "crashes": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "exits": lambda: os._exit(7),
    "hangs": lambda: time.sleep(600),
    "starts another": _start_another,
    "last": lambda: None,
}


def run(report, setup):
    if os.environ.get("ODD_BROKEN"):
        raise ImportError("broken at run")
    report.run({name: ROWS[name] for name in os.environ["ODD_ROWS"].split(",")})
