"""benchmarks/on_gpu.py without a GPU: what ends a row and what does not, and a dry run of each part."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import odd_part

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MACHINE = {"dry": False, "processor": "none", "torch": "0", "triton": "0"}


@pytest.fixture
def watched(monkeypatch, tmp_path):
    """Runs tests/helpers/odd_part.py for some seconds; returns the table of its rows."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from gpu.parts import Part, Setup
    from gpu.table import Table
    from gpu.watch import watch

    def run(seconds=60.0, row_seconds=30.0, again=False, rows=None):
        monkeypatch.setenv("ODD_ROWS", ",".join(rows or odd_part.ROWS))
        table = Table(tmp_path, MACHINE)
        part = Part("odd", "helpers.odd_part", 1, row_seconds)
        watch(part, seconds, table, Setup(tmp_path, False, "cpu", ("odd",)), table.done("odd", again))
        return {row["row"]: row for row in json.loads((tmp_path / "on_gpu.json").read_text())["rows"]}

    return run


def test_a_row_that_ends_its_process_does_not_end_the_others(watched):
    rows = watched(rows=["good", "raises", "misses", "missing", "crashes", "exits", "hangs", "last"], row_seconds=6)
    wanted = ["passed", "failed", "failed", "left out", "failed", "failed", "failed", "passed"]
    assert [row["status"] for row in rows.values()] == wanted
    assert rows["good"]["facts"] == {"figure": 1}
    assert rows["raises"]["error"] == "ValueError: a first line\na second"
    assert rows["misses"]["facts"] == {"figure": 2} and rows["misses"]["error"] == "too slow"
    assert rows["missing"]["error"] == "no such package"
    assert rows["crashes"]["error"].startswith("ended by SIGSEGV")
    assert rows["exits"]["error"].startswith("ended with exit status 7")
    assert rows["hangs"]["error"].startswith("did not end in 6 s")


@pytest.mark.exhaustive
def test_what_a_hanging_row_started_ends_with_it(watched, tmp_path, monkeypatch):
    monkeypatch.setenv("ODD_PID", str(tmp_path / "pid"))
    watched(rows=["starts another", "last"], row_seconds=8)
    child = int((tmp_path / "pid").read_text())
    for _ in range(50):
        if not _is_alive(child):
            return
        time.sleep(0.1)
    pytest.fail("the row's own process is still there")


def _is_alive(process: int) -> bool:
    """A killed process whose parent has gone is a zombie until somebody collects it."""
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


@pytest.mark.exhaustive
def test_a_later_run_goes_on_with_the_rest(watched):
    rows = watched(seconds=8, rows=["good", "hangs", "last"])
    assert [row["status"] for row in rows.values()] == ["passed", "not reached", "not reached"]
    assert rows["hangs"]["error"].startswith("cut off after")
    before = rows["good"]
    rows = watched(seconds=30, row_seconds=6, rows=["good", "hangs", "last", "raises"])
    assert [rows[name]["status"] for name in ("good", "hangs", "last", "raises")] == [
        "passed",
        "failed",
        "passed",
        "failed",
    ]
    assert rows["good"] == before  # not run again
    rows = watched(rows=["hangs", "raises"], again=True, row_seconds=6)
    assert rows["raises"]["status"] == "failed" and rows["good"] == before


@pytest.mark.parametrize("broken", ["import", "run"])
def test_a_part_that_cannot_begin_is_a_row(watched, monkeypatch, broken):
    monkeypatch.setenv("ODD_BROKEN", broken)
    rows = watched()
    assert [row["status"] for row in rows.values()] == ["failed"]
    assert rows["(the whole part)"]["error"] == f"ImportError: broken at {broken}"
    monkeypatch.setenv("ODD_BROKEN", "")
    assert list(watched(rows=["good"])) == ["good"]


def test_a_table_of_another_machine_is_refused(watched, tmp_path):
    watched(rows=["good"])
    from gpu.table import Table

    with pytest.raises(ValueError, match=r"made with processor none \(here H100\): name another folder with -o"):
        Table(tmp_path, MACHINE | {"processor": "H100"})


def test_a_killed_run_leaves_its_table(tmp_path):
    """By SIGTERM, as a cluster's queue ends a job."""
    command = [sys.executable, str(BENCHMARKS / "on_gpu.py"), "--dry", "-o", str(tmp_path), "--only", "right"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "passed" in line:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 1
    table = json.loads((tmp_path / "on_gpu.json").read_text())
    assert table["rows"][0]["status"] == "passed"
    assert table["rows"][0]["row"] in (tmp_path / "on_gpu.txt").read_text()


def test_without_a_gpu_it_says_so(tmp_path):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(BENCHMARKS / "on_gpu.py"), "-o", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "torch finds no GPU here: run this on a machine with one, or with --dry" in done.stderr


@pytest.fixture(scope="module")
def dry(tmp_path_factory):
    """The folder of a whole dry run, and how it ended."""
    folder = tmp_path_factory.mktemp("dry")
    command = [sys.executable, str(BENCHMARKS / "on_gpu.py"), "--dry", "--minutes", "30", "-o", str(folder)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    return folder, done


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("part", "figures"),
    [
        ("right", set()),
        ("fast", {"GB_per_s", "forward_ms", "both_ms", "both_times_faster_than", "both_share_of_memory_rate", "best"}),
        ("steps", {"step_ms", "share_of_scan", "estimated_GiB", "patch", "batch", "trace"}),
        ("trains", {"losses", "dice", "backend", "patch", "batch"}),
    ],
)
def test_each_part_runs_dry(dry, part, figures):
    folder, _ = dry
    rows = [row for row in json.loads((folder / "on_gpu.json").read_text())["rows"] if row["part"] == part]
    assert {row["status"] for row in rows} == {"passed"} and len(rows) >= 3, (folder / "on_gpu.txt").read_text()
    assert {key for row in rows for key in row.get("facts", {})} >= figures


@pytest.mark.exhaustive
def test_a_dry_run_writes_table_plot_and_traces(dry):
    folder, done = dry
    assert done.returncode == 0, done.stderr
    text = (folder / "on_gpu.txt").read_text()
    assert text.strip() in done.stdout and "right: 4 passed" in text
    assert (folder / "on_gpu.png").stat().st_size > 10_000
    named = {
        row["facts"]["trace"] for row in json.loads((folder / "on_gpu.json").read_text())["rows"] if "trace" in str(row)
    }
    assert named == {file.name for file in (folder / "traces").iterdir()} and len(named) >= 3
