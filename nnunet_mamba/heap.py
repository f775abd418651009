"""The process keeps the memory that it frees: each training step takes the same tensors again.

By default the C library gives the memory of every large tensor back to the kernel, which hands out zeroed pages for the
next one. In a training step on a CPU this takes a fifth of the time (benchmarks/training_step.py).
"""

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache

# numbers of mallopt's parameters in glibc's malloc.h
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
KEEP = {
    MMAP_THRESHOLD: 2**25,  # the largest that glibc takes: larger tensors still go back, so no huge gaps stay behind
    TRIM_THRESHOLD: -1,  # the end of the heap never goes back
    TOP_PAD: 2**26,  # the heap grows in steps of 64 MiB
}
GIVE_BACK = {MMAP_THRESHOLD: 2**17, TRIM_THRESHOLD: 2**17, TOP_PAD: 2**17}  # glibc's defaults
VARIABLES = "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES"


@cache
def keep_freed_memory() -> bool:
    """Keep what is freed from now on, in this process and not in those that it forks; returns whether it does.

    Nothing happens outside Linux with glibc, or where the user's environment settles it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is None or any(name in os.environ for name in VARIABLES):
        return False
    os.register_at_fork(after_in_child=lambda: _set(mallopt, GIVE_BACK))  # data workers hold one batch at a time
    return _set(mallopt, KEEP)


def _set(mallopt: Callable[[int, int], int], settings: dict[int, int]) -> bool:
    return all(mallopt(parameter, value) for parameter, value in settings.items())
