"""Free RAM and the machine's, within the control groups of both versions around a process."""

import pytest

from nnunet_mamba import machine_memory
from nnunet_mamba.machine_memory import GIB, free_ram, machine_ram


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Writes what a Linux of 16 GiB with 12 available says; `groups`: {folder: {file: content}}."""

    def write(own="", groups=(), available=12):
        (tmp_path / "own").write_text(own)
        (tmp_path / "meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:   {available * 2**20} kB\n")
        for folder, files in dict(groups).items():
            (tmp_path / "cgroup" / folder).mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (tmp_path / "cgroup" / folder / name).write_text(f"{content}\n")

    monkeypatch.setattr(machine_memory, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine_memory, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(machine_memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(machine_memory.os, "sysconf", {"SC_PHYS_PAGES": 16 * GIB // 4096, "SC_PAGE_SIZE": 4096}.get)
    return write


def version_2(limit, used, cached=0):
    return {"memory.max": limit, "memory.current": used, "memory.stat": f"active_file {cached}\ninactive_file 0"}


def version_1(limit, used, cached=0):
    stat = f"inactive_file 1\ntotal_inactive_file {cached}\ntotal_active_file 0"
    return {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used, "memory.stat": stat}


@pytest.mark.parametrize(
    ("own", "groups", "has", "free"),
    [
        ("", {}, 16, 12),
        ("0::/", {"": version_2("max", 5 * GIB)}, 16, 12),
        ("0::/", {"": version_2(4 * GIB, 3 * GIB)}, 4, 1),
        ("0::/", {"": version_2(4 * GIB, 3 * GIB, cached=2 * GIB)}, 4, 3),
        ("0::/", {"": version_2(4 * GIB, 5 * GIB)}, 4, 0),
        ("0::/job/step", {"job": version_2(8 * GIB, 2 * GIB), "job/step": version_2("max", GIB)}, 8, 6),
        ("9:memory:/job\n0::/", {"memory/job": version_1(6 * GIB, 3 * GIB, cached=GIB)}, 6, 4),
        ("9:memory:/a/b\n", {"memory/a": version_1(6 * GIB, GIB), "memory/a/b": version_1(2**63 - 4096, 0)}, 6, 5),
        ("9:memory:/elsewhere\n", {"memory": version_1(3 * GIB, GIB)}, 3, 2),
    ],
    ids=["none", "no limit", "container", "its cache", "over", "job", "version 1", "nested", "own not visible"],
)
def test_limits(machine, own, groups, has, free):
    machine(own, groups)
    assert (machine_ram() / GIB, free_ram() / GIB) == (has, free)


def test_a_system_without_meminfo_has_all_of_its_ram_free(machine):
    assert free_ram() == machine_ram() == 16 * GIB
