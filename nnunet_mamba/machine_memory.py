"""How much memory this machine has and how much of it is free, within the limits of its containers and cluster jobs."""

import os
from collections.abc import Iterator
from pathlib import Path

GIB = 2**30
GPU, RAM = "GPU", "RAM"
# GiB besides a training step, measured: CUDA's context; Python with torch and nnU-Net (1.0) and two processes that
# augment batches (0.5)
OUTSIDE = {GPU: 0.5, RAM: 1.5}
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
MEMINFO = Path("/proc/meminfo")


def machine_ram() -> int:
    """Bytes of RAM of this machine, or that its container or job may take if that is less.

    Raises:
        OSError: the size is unknown.
    """
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError) as error:  # Windows has no sysconf
        raise OSError("the size of this machine's RAM is unknown") from error
    return min([physical, *(limit for limit, _ in _limits())])


def free_ram() -> int:
    """Bytes of RAM that a program may take now: file caches count as free, as the kernel gives them up.

    Only Linux tells what is free. Elsewhere this is all the RAM that the machine has.

    Raises:
        OSError: the size of the machine's RAM is unknown.
    """
    try:
        available = next(line for line in MEMINFO.read_text().splitlines() if line.startswith("MemAvailable:"))
        free = 1024 * int(available.split()[1])
    except (OSError, StopIteration):
        free = machine_ram()
    return max(0, min([free, *(limit - used for limit, used in _limits())]))


def _limits() -> Iterator[tuple[int, int]]:
    """(limit, used) in bytes of each control group around this process that has a limit."""
    for folder in _cgroup_folders():
        for limit, used in (
            ("memory.max", "memory.current"),  # version 2
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),  # version 1
        ):
            try:
                most = (folder / limit).read_text().strip()
                if most.isdecimal():
                    yield int(most), int((folder / used).read_text()) - _file_cache(folder)
            except OSError:
                continue


def _file_cache(folder: Path) -> int:
    """Bytes of cached files in the use of a control group."""
    try:
        counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except OSError:
        return 0
    total = "total_" if "total_inactive_file" in counts else ""  # version 1: with the groups inside
    return sum(int(counts.get(f"{total}{kind}_file", 0)) for kind in ("active", "inactive"))


def _cgroup_folders() -> Iterator[Path]:
    """Of the control groups of memory around this process, its own first. A container sees its own as the root."""
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:
        lines = []
    for line in [*lines, "0::/"]:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            root = CGROUPS / controllers
            own = root / path.strip("/")
            yield own
            yield from (parent for parent in own.parents if parent.is_relative_to(root))
