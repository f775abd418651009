"""StopSignals: Ctrl-C and SIGTERM wait until the work has come to a point where it can stop."""

import os
import signal
import threading
from types import FrameType

WAITS = b"\nStopping after this step, with a checkpoint. Press Ctrl-C again to stop at once.\n"


class Stopped(SystemExit):
    """Ends the program with the exit status of a program that this signal ended, 128 + its number."""

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.number = number


class StopSignals:
    """While entered, SIGINT and SIGTERM raise Stopped in the main thread, or are kept in `asked` if `waits` is set.

    A second Ctrl-C raises in any case; further SIGTERMs, which clusters send, do not. Signals that the program ignores
    stay ignored. Outside the main thread, where Python has no signals, nothing is changed.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self.waits = False

    def __enter__(self) -> "StopSignals":
        self._process = os.getpid()
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a fork that has not yet set its own
            if number == signal.SIGTERM:
                os._exit(128 + number)
        elif not self.waits or (self.asked is not None and number == signal.SIGINT):
            self.asked = number
            raise Stopped(number)
        elif self.asked is None:
            self.asked = number
            os.write(2, WAITS)  # print is not safe in here
