"""Processes that Ctrl-C does not reach: they end with the one that started them, and say nothing."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process, resource_tracker


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Processes that the block starts never get Ctrl-C; this one still does.

    They inherit the signal mask of the thread that starts them. A thread that does not block the signal takes it
    meanwhile, and Python raises KeyboardInterrupt in the main thread. On Windows nothing changes.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # otherwise started with the first child, and that unblocks the signal
    done = threading.Event()
    taker = threading.Thread(target=done.wait, daemon=True)
    taker.start()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        done.set()
        taker.join()


def end_with_parent() -> None:
    """To be called in a child of multiprocessing: it ends when its parent does, even if that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows, see above
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
