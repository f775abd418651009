"""Processes that conversion shares its cases out to."""

import operator
import os
import signal
import threading
import time

import pytest

from nnunet_mamba.dataset_conversion.pipeline import parallel


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_stop_that_reaches_the_workers_too_prints_no_traceback(monkeypatch):
    """A scheduler stops a whole process group: the workers are gone while the run still unwinds."""
    in_threads = []
    monkeypatch.setattr(threading, "excepthook", in_threads.append)
    with parallel.open_workers(2) as workers:

        def stop_all(results, **_):
            for number, result in enumerate(results):
                if number == 3:
                    for process in workers._pool._processes.values():
                        os.kill(process.pid, signal.SIGTERM)
                    results.close()  # as when the stop arrives in it
                    raise KeyboardInterrupt
                yield result

        monkeypatch.setattr(parallel, "tqdm", stop_all)
        with pytest.raises(KeyboardInterrupt):
            workers.run(time.sleep, [0.01] * 1000, "sleeping")
    assert in_threads == []


def test_results_are_in_order_and_an_error_arrives():
    with parallel.open_workers(2) as workers:
        assert workers.run(operator.neg, range(50), "negating") == [-i for i in range(50)]
        with pytest.raises(TypeError, match="bad operand"):
            workers.run(operator.neg, ["text"], "negating")
