"""What a part says to the process that watches it: which rows it has, which one it begins, what became of it."""

import gc
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.connection import Connection

from gpu.table import FAILED, LEFT_OUT, PASSED

LINES = 6  # of an error, in the table; the log has all of it
DEVICE_LOST = 3  # exit status


class LeftOut(Exception):
    """The row cannot run on this machine; says what is missing."""


class Missed(Exception):
    """The row ran, and its figures, `facts`, miss the goal."""

    def __init__(self, message: str, facts: dict):
        super().__init__(message)
        self.facts = facts


class Report:
    """The end of the pipe inside a part's process.

    Args:
        done: rows that are known already, to be left out.
        late: rows that were cut off before: they come last, so that they do not keep others from their turn.
    """

    def __init__(self, pipe: Connection, done: Iterable[str], late: Iterable[str]):
        self._pipe, self.done, self.late = pipe, frozenset(done), frozenset(late)
        self._start = time.monotonic()

    def announce(self, names: Iterable[str]) -> None:
        self._pipe.send(("rows", list(names)))

    def start(self, name: str) -> None:
        self._start = time.monotonic()
        self._pipe.send(("start", name))

    def end(self, name: str, status: str, facts: dict | None = None, error: str = "") -> None:
        seconds = round(time.monotonic() - self._start, 2)
        self._pipe.send(("end", name, status, {"seconds": seconds, "facts": facts, "error": error}))

    def run(self, rows: Mapping[str, Callable[[], dict | None]]) -> None:
        """Run each row that is not done. A row returns its facts, or raises."""
        self.announce(rows)
        for name in sorted(rows.keys() - self.done, key=lambda name: (name in self.late, [*rows].index(name))):
            self.start(name)
            status, facts, error = outcome(rows[name])
            self.end(name, status, facts, error)
            if status == FAILED and not self.device_works():
                sys.exit(DEVICE_LOST)

    def device_works(self) -> bool:
        """After a failure: free memory, and see whether the failure took the GPU with it."""
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_available():
            return True
        try:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
        except RuntimeError:  # after an illegal address, say, every later call fails as well
            return False
        return True


def outcome(row: Callable[[], dict | None]) -> tuple[str, dict | None, str]:
    """Status, facts and error of a row."""
    try:
        return PASSED, row(), ""
    except LeftOut as error:
        return LEFT_OUT, None, str(error)
    except Missed as error:
        return FAILED, error.facts, str(error)
    except Exception as error:  # whatever a compiler, a driver or a test raises
        traceback.print_exc()
        return FAILED, None, first_lines(f"{type(error).__name__}: {error}")


def first_lines(text: str) -> str:
    """Of an error, without empty lines."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(line[:300] for line in lines[:LINES])
