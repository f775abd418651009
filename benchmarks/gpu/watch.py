"""Runs a part in a process of its own, in a limited time, and notes what it says; starts it again where it crashed."""

import contextlib
import faulthandler
import os
import signal
import sys
import time
from collections.abc import Iterable
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from gpu.parts import Part, Setup
from gpu.report import DEVICE_LOST, Report, first_lines, outcome
from gpu.table import FAILED, NOT_REACHED, PASSED, WHOLE, Table

TAIL = 6  # lines of a crashed part's log
DRY_PATIENCE = 4  # a CPU that does other work, too
SECONDS_TO_END = 20  # of a process that has closed its pipe


def watch(part: Part, seconds: float, table: Table, setup: Setup, done: Iterable[str]) -> None:
    """Run the rows of `part` that are not `done`, for at most `seconds`. A row that ends its process fails."""
    log = setup.folder / "logs" / f"{part.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"{part.name}: at most {seconds:.0f} s, log {log}", flush=True)
    watched = _Watched(part, table, setup, set(done), time.monotonic() + seconds, log)
    while not watched.ended():
        pass


class _Watched:
    """A part, its rows that are done, the row that runs now, and the time (monotonic) at which the part must end."""

    def __init__(self, part: Part, table: Table, setup: Setup, done: set[str], end: float, log: Path):
        self.part, self.table, self.setup, self.done, self.end, self.log = part, table, setup, done, end, log
        self.row_seconds = part.row_seconds * (DRY_PATIENCE if setup.dry else 1)
        self.row: str | None = None
        self.since = time.monotonic()

    def ended(self) -> bool:
        """Run the part in a process; returns whether there is nothing more to run or no time to."""
        spawn = get_context("spawn")
        pipe, childs = spawn.Pipe(duplex=False)
        arguments = self.part.module, self.setup, sorted(self.done), self.table.cut(self.part.name), childs, self.log
        process = spawn.Process(target=work, args=arguments)
        self.row, self.since = None, time.monotonic()
        process.start()
        childs.close()
        try:
            closed = self._listen(pipe)
            if closed:
                process.join(SECONDS_TO_END)
        finally:
            _kill(process.pid)
            process.join()
        if not closed:
            return self._out_of_time()
        if process.exitcode == 0:
            return True
        if process.exitcode == DEVICE_LOST:
            return False
        self._fail(f"{_how(process.exitcode)}\n{_tail(self.log)}")
        return self.row is None

    def _listen(self, pipe: Connection) -> bool:
        """Note what the process says until it closes the pipe (True) or runs out of time (False)."""
        while True:
            limit = min(self.end, self.since + self.row_seconds)
            if not pipe.poll(max(0.0, limit - time.monotonic())):
                return False
            try:
                kind, *said = pipe.recv()
            except (EOFError, OSError):
                return True
            self.since = time.monotonic()
            if kind == "rows":
                self.table.announce(self.part.name, *said)
            elif kind == "start":
                (self.row,) = said
            else:
                name, status, more = said
                self._end(name, status, **more)
                self.row = None

    def _out_of_time(self) -> bool:
        seconds = time.monotonic() - self.since
        if time.monotonic() < self.end:
            self._fail(f"did not end in {seconds:.0f} s\n{_tail(self.log)}")
            return self.row is None
        if self.row:
            self._end(self.row, NOT_REACHED, error=f"cut off after {seconds:.0f} s, when the part's time was over")
        return True

    def _fail(self, error: str) -> None:
        self._end(self.row or WHOLE, FAILED, error=error)

    def _end(self, name: str, status: str, **more) -> None:
        self.done.add(name)
        self.table.end(self.part.name, name, status, **more)
        print(f"  {status:11}  {name}", flush=True)


def work(module: str, setup: Setup, done: list[str], late: list[str], pipe: Connection, log: Path) -> None:
    """What the part's process does. It leads a process group, so that what it starts ends with it."""
    os.setsid()
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    faulthandler.enable()
    report = Report(pipe, done, late)
    status, facts, error = outcome(lambda: import_module(module).run(report, setup))
    if status != PASSED:
        report.end(WHOLE, status, facts, error)
    sys.stdout.flush()


def _kill(group: int) -> None:
    """The process and all that it started; those that are left of an ended one, too."""
    for kill in (os.killpg, os.kill):  # a process that has just begun leads no group yet
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(group, signal.SIGKILL)


def _how(exitcode: int | None) -> str:
    if exitcode is None:
        return f"closed its pipe and did not end in {SECONDS_TO_END} s"
    if exitcode < 0:
        name = signal.Signals(-exitcode).name
        return f"ended by {name}" + (", as when the machine runs out of RAM" if name == "SIGKILL" else "")
    return f"ended with exit status {exitcode}"


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return first_lines("\n".join([line for line in lines if line.strip()][-TAIL:]))
