"""A function over many items, in order, with a progress bar, in this process or in spawned ones."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Runs functions over items; made by `open_workers`."""

    def __init__(self, pool: ProcessPoolExecutor | None):
        self._pool = pool

    def run(self, function: Callable[[Item], Result], items: Sequence[Item], title: str) -> list[Result]:
        """`[function(item) for item in items]`; an exception ends it and the workers, which write nothing more when it arrives.

        With more than one process `function` must be picklable. Results are all kept: they should be small.
        """
        try:
            if self._pool is None:
                results = map(function, items)
            else:
                results = self._pool.map(function, items)  # no chunks: an interrupt would wait for them
            return list(tqdm(results, total=len(items), desc=f"{title:<10}", unit="case"))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Begin nothing new, wait for what runs."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def open_workers(processes: int) -> Iterator[Workers]:
    """Workers for the time of the `with`."""
    pool = None
    if processes > 1:
        pool = ProcessPoolExecutor(
            processes, mp_context=get_context("spawn"), initializer=_leave_interrupts_to_the_parent
        )
    workers = Workers(pool)
    try:
        yield workers
    finally:
        workers.close()


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
