"""A function over many items, in order and with a progress bar, in this process or in spawned ones."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import TypeVar

from tqdm import tqdm

from nnunet_mamba.quiet_children import end_with_parent, without_interrupts

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """Runs functions over items; made by `open_workers`."""

    def __init__(self, pool: ProcessPoolExecutor | None):
        self._pool = pool

    def run(self, function: Callable[[Item], Result], items: Sequence[Item], title: str) -> list[Result]:
        """`[function(item) for item in items]`.

        With more than one process `function` must be picklable. All results are kept, so they should be small. An
        exception ends the run and the workers: by the time it arrives here, no worker writes any more.
        """
        try:
            results: Iterable[Result]
            if self._pool is None:
                results = map(function, items)
            else:
                # not `pool.map`: it cancels the rest when this thread is stopped, and a pool whose workers were stopped
                # as well cannot mark a cancelled item as failed: it prints a traceback (Python 3.10, 3.11)
                with without_interrupts():  # the first calls start the workers
                    futures = [self._pool.submit(function, item) for item in items]
                results = (future.result() for future in futures)
            return list(tqdm(results, total=len(items), desc=f"{title:<10}", unit="case"))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Start nothing new and wait for what runs."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def open_workers(processes: int) -> Iterator[Workers]:
    """Workers that live as long as the `with` block."""
    pool = None
    if processes > 1:
        pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=end_with_parent)
    workers = Workers(pool)
    try:
        yield workers
    finally:
        workers.close()
