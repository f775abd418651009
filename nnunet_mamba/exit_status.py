"""Runs a command to its exit status: an error or an interrupt ends it in one line."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = ("SIGTERM", "SIGHUP")  # kill, a scheduler, a terminal that closes; Windows has no SIGHUP


class SignalInterrupt(KeyboardInterrupt):
    """A signal of `STOPS`. Whatever cleans up after Ctrl-C cleans up after it."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


def exit_status(name: str, command: Callable[[], int | None]) -> int:
    """Run `command` and say in one line on stderr what ended it early.

    An interrupt may carry a text: what is left, or how to go on.

    Returns:
        0 or what `command` returns; 1 after an error; 130 after Ctrl-C; 128 and its number after a signal that raised
        `SignalInterrupt`.
    """
    try:
        return command() or 0
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, SignalInterrupt) else signal.SIGINT
        what = f"stopped by {signal.Signals(number).name}" if isinstance(stop, SignalInterrupt) else "interrupted"
        print(f"{name}: {what}" + (f"; {stop}" if str(stop) else ""), file=sys.stderr)
        return 128 + number


@contextmanager
def stops_raise() -> Iterator[None]:
    """In the block a signal of `STOPS` raises `SignalInterrupt`, so that it cleans up. One that is ignored stays so.

    Not for blocks that fork: the forks inherit the handler, and multiprocessing ends its workers by SIGTERM.
    """
    numbers = [getattr(signal, name) for name in STOPS if hasattr(signal, name)]
    in_main = threading.current_thread() is threading.main_thread()  # only there may handlers be set
    numbers = [number for number in numbers if in_main and signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SignalInterrupt(number)
