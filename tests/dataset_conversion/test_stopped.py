"""A conversion that is interrupted, stopped or killed: what it says, and what is left of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import dataset_trees as trees
from helpers.own_package import copy_with_dataset
from nnunet_mamba.cli import doctor
from nnunet_mamba.cli.main import main
from nnunet_mamba.hidden_folders import in_use, left_behind

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
SLOW = '''"""Slow: each case takes a while, so that a signal arrives in the middle."""

import time

from nnunet_mamba.dataset_conversion.dataset import Case, Dataset, read_rgb_and_mask
from nnunet_mamba.dataset_conversion.formats.folders import by_id, list_files, pair_up


def find_cases(folder):
    pairs, bad = pair_up(by_id(list_files(folder / "images")), by_id(list_files(folder / "masks")))
    return [Case(id, id, *pair) for id, pair in pairs.items()], bad


def read_case(case):
    time.sleep(0.2)
    return read_rgb_and_mask(case)


SLOW = Dataset(
    name="Slow", what="", segments="", never_split="", labels={"background": 0, "box": 1}, description="", reference="",
    licence="", release="", find_cases=find_cases, read_case=read_case,
)
'''
# a background shell ignores SIGINT, and so would all that it starts
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from nnunet_mamba.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def package(tmp_path):
    copy_with_dataset(tmp_path / "package", "slow", SLOW)
    return tmp_path / "package"


@pytest.fixture
def start(package, tmp_path):
    """Starts the conversion of 16 cases in a process group of its own."""
    for i in range(16):
        trees.write_image(tmp_path / "source" / "images" / f"{i}.png", i)
        trees.write_mask(tmp_path / "source" / "masks" / f"{i}.png", trees.box(i))
    source = trees.zip_folder(tmp_path / "source", tmp_path / "source.zip")
    argv = ["convert", "Slow", "-i", str(source), "-d", "501", "-np", "2"]
    started = []

    def start() -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *argv],
            env={**os.environ, "PYTHONPATH": str(package)},
            stdout=subprocess.PIPE,
            stderr=open(tmp_path / "stderr", "wb"),  # noqa: SIM115 (the process has its own copy)
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if is_running(process.pid):
            os.killpg(process.pid, signal.SIGKILL)


def wait_until(condition, process: subprocess.Popen) -> None:
    for _ in range(1200):
        if condition():
            return
        assert process.poll() is None, "the conversion ended too early"
        time.sleep(0.05)
    pytest.fail("the conversion did not get that far")


def is_running(group: int) -> bool:
    """Whether any process of the group runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def assert_all_end(process: subprocess.Popen) -> None:
    process.wait(timeout=60)
    for _ in range(600):
        if not is_running(process.pid):
            return
        time.sleep(0.1)
    pytest.fail("a worker is still running")


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


ENDS = {
    "ctrl_c": (signal.SIGINT, True, 130, "interrupted; nothing was written"),  # in a terminal
    "kill": (signal.SIGTERM, False, 143, "stopped by SIGTERM; nothing was written"),
    "kill_all": (signal.SIGTERM, True, 143, "stopped by SIGTERM; nothing was written"),  # a scheduler
}


@pytest.mark.parametrize(
    ("phase", "end"),
    [
        ("verifying", "ctrl_c"),
        ("writing", "kill"),
        *(
            pytest.param(phase, end, marks=pytest.mark.exhaustive)
            for phase, end in [
                ("verifying", "kill"),
                ("verifying", "kill_all"),
                ("writing", "ctrl_c"),
                ("writing", "kill_all"),
            ]
        ),
    ],
)
def test_one_line_and_nothing_is_left(start, nnunet, tmp_path, phase, end):
    number, to_all, status, said = ENDS[end]
    process = start()
    if phase == "verifying":  # the workers are still importing
        wait_until(lambda: "verifying" in (tmp_path / "stderr").read_text(), process)
    else:
        wait_until(lambda: list(nnunet.raw.glob(".*.partial/imagesTr/*.png")), process)
    (os.killpg if to_all else os.kill)(process.pid, number)
    assert_all_end(process)
    *bars, line = (tmp_path / "stderr").read_text().splitlines()
    assert process.returncode == status and line == f"nnunet_mamba convert: {said}"
    assert all("%|" in bar or not bar for bar in bars), bars
    assert nnunet.content() == []


def test_what_a_killed_conversion_leaves(start, nnunet, tmp_path, monkeypatch, capsys):
    process = start()
    wait_until(lambda: list(nnunet.raw.glob(".*.partial/imagesTr/*.png")), process)
    process.kill()
    assert_all_end(process)
    assert "Traceback" not in (tmp_path / "stderr").read_text()
    left = sorted(nnunet.raw.iterdir())
    assert [path.name.split(".")[1] for path in left] == ["Dataset501_Slow"] * 2 and files_below(left[0])

    monkeypatch.setattr(doctor, "LOOK_UP", "print('FOUND nnunet_mamba.trainers')")
    assert main(["doctor"]) == 1
    report = capsys.readouterr().out
    assert all(f"-> delete it: rm -r '{path}'" in report for path in left)

    process = start()
    said = process.communicate()[0].decode()
    assert process.returncode == 0
    assert all(f"removed {path}, which a killed conversion left" in said for path in left)
    assert [path.name for path in nnunet.raw.iterdir()] == ["Dataset501_Slow"]


def test_a_folder_in_use_stays(tree, nnunet, capsys):
    folders = [nnunet.raw / f".{name}.partial" for name in ("Dataset501_PH2.00000000", "Dataset501_PH2.unpacked.0")]
    other = nnunet.raw / ".Dataset502_PH2.00000000.partial"  # of another data set: left to its own conversion
    for folder in (*folders, other):
        folder.mkdir()
    with in_use(folders[0]):
        assert main(["convert", "PH2", "-i", str(tree), "-d", "501", "-np", "1"]) == 0
        assert list(left_behind([nnunet.raw])) == [other]
    assert folders[0].is_dir() and other.is_dir() and not folders[1].exists()
    assert f"removed {folders[1]}" in capsys.readouterr().out
    assert list(left_behind([nnunet.raw])) == [folders[0], other]


def test_a_data_set_set_aside_is_never_removed(tree, nnunet, capsys):
    aside = nnunet.raw / ".Dataset501_PH2.00000000.replaced"
    aside.mkdir()
    assert main(["convert", "PH2", "-i", str(tree), "-d", "501", "-np", "1"]) == 0
    assert f"found {aside}: the data set before a conversion that was killed; rename it" in capsys.readouterr().out
    assert aside.is_dir()
