"""The demo runs the stock commands in order, in its own folder, and explains failures."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from nnunet_mamba.cli.main import main
from nnunet_mamba.demo import run as demo
from nnunet_mamba.demo.folder import MARKER, DemoFolder
from nnunet_mamba.demo.runner import find_script, run_command

NAMES = ["convert", "plan", "train", "predict", "evaluate", "report"]


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Records the commands instead of running them; `statuses` maps a position to an exit status or an exception."""

    class Fake:
        folder = tmp_path / "demo"
        commands, variables, statuses = [], [], {}

        def __call__(self, command, folder, variables, log):
            assert folder == self.folder and log.parent == self.folder / "logs" and log.parent.is_dir()
            self.commands.append(command)
            self.variables.append(variables)
            outcome = self.statuses.get(len(self.commands), 0)
            if isinstance(outcome, BaseException):
                raise outcome
            if command[0] == "nnUNetv2_evaluate_simple" and outcome == 0:
                self.write_results()
            return outcome

        def write_results(self):
            raw, image = self.folder / "nnUNet_raw/Dataset501_PH2", np.zeros((32, 40), np.uint8)
            files = [f"nnUNet_raw/Dataset501_PH2/labelsTs/IMD{n:03d}.png" for n in range(8)]
            for file in files:
                for path in (self.folder / file, self.folder / "pred" / file[-10:]):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(image).save(path)
                (raw / "imagesTs").mkdir(exist_ok=True)
                Image.fromarray(image).convert("RGB").save(raw / "imagesTs" / f"{file[-10:-4]}_0000.png")
            cases = [
                {"reference_file": file, "prediction_file": f"pred/{file[-10:]}", "metrics": {"1": {"Dice": 0.5}}}
                for file in files
            ]
            summary = {"foreground_mean": {"Dice": 0.8765}, "metric_per_case": cases}
            (self.folder / "pred/summary.json").write_text(json.dumps(summary))

    fake = Fake()
    monkeypatch.setattr(demo, "run_command", fake)
    monkeypatch.setattr(demo, "PHANTOM_CASES", 2)
    monkeypatch.setattr(demo, "PHANTOM_SIZE", (32, 40))
    return fake


def test_the_stock_commands_in_order(fake, capsys):
    demo.run_demo(fake.folder, "cpu")
    raw = "nnUNet_raw/Dataset501_PH2"
    assert [" ".join(command) for command in fake.commands] == [
        "nnunet_mamba convert PH2 -i PH2Dataset -d 501 --test 8",
        "nnUNetv2_plan_and_preprocess -d 501 -c 2d --verify_dataset_integrity -npfp 1 -np 1",
        "nnUNetv2_train 501 2d 0 -tr DAMambaTrainer_demo -device cpu",
        "nnUNetv2_predict -d 501 -c 2d -f 0 -tr DAMambaTrainer_demo "
        f"-i {raw}/imagesTs -o pred -device cpu -npp 1 -nps 1",
        f"nnUNetv2_evaluate_simple {raw}/labelsTs pred -l 1 -np 1",
        f"nnunet_mamba report --pred pred --gt {raw}/labelsTs --images {raw}/imagesTs "
        "--names DAMambaTrainer_demo -o report -np 1",
    ]
    printed = capsys.readouterr().out
    for number, name in enumerate(["phantom", *NAMES], start=1):
        assert f"[{number}/7] {name} " in printed or f"[{number}/7] {name}:" in printed
    for command in fake.commands:
        assert f"\n$ {' '.join(command)}\n" in printed
    assert "0.876" in printed or "0.877" in printed
    assert printed.splitlines()[-2].endswith(str(fake.folder / "overlay.png"))
    assert printed.splitlines()[-1].endswith(str(fake.folder / "report" / "index.html"))
    assert Image.open(fake.folder / "overlay.png").format == "PNG"


def test_variables_are_for_the_commands_only(fake, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "theirs")
    demo.run_demo(fake.folder, "cpu")
    assert os.environ["nnUNet_raw"] == "theirs"
    for variables in fake.variables:
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            assert variables[name] == str(fake.folder / name)


@pytest.mark.parametrize("position, name", list(enumerate(NAMES, start=1)))
def test_a_failing_command_is_named(fake, position, name):
    fake.statuses[position] = 3
    log = rf"logs.{position + 1}_{name}\.log"
    with pytest.raises(
        RuntimeError, match=rf"^{demo.command_steps('cpu')[position - 1].command[0]} .* status 3; .*{log}$"
    ):
        demo.run_demo(fake.folder, "cpu")
    assert len(fake.commands) == position


def test_an_interrupted_demo_resumes(fake, capsys):
    fake.statuses[3] = KeyboardInterrupt()
    assert main(["demo", "-o", str(fake.folder), "--device", "cpu"]) == 130
    said = "nnunet_mamba demo: interrupted; run the demo again to continue after: phantom, convert, plan\n"
    assert capsys.readouterr().err == said
    trained = fake.folder / demo.TRAINED
    trained.mkdir(parents=True)
    (trained / "checkpoint_latest.pth").touch()
    fake.commands.clear()
    fake.statuses.clear()
    demo.run_demo(fake.folder, "cpu")
    assert [command[0] for command in fake.commands] == [
        "nnUNetv2_train", "nnUNetv2_predict", "nnUNetv2_evaluate_simple", "nnunet_mamba",
    ]  # fmt: skip
    assert fake.commands[0][-1] == "--c"
    assert capsys.readouterr().out.count("done before, reused") == 3


def test_remains_of_a_failed_conversion_are_removed(fake):
    fake.statuses[1] = 1
    with pytest.raises(RuntimeError):
        demo.run_demo(fake.folder, "cpu")
    left = [fake.folder / parent / "Dataset501_PH2" / "left" for parent in ("nnUNet_raw", "nnUNet_preprocessed")]
    for folder in left:
        folder.mkdir(parents=True)
    fake.statuses.clear()
    demo.run_demo(fake.folder, "cpu")
    assert not any(folder.exists() for folder in left)


@pytest.mark.parametrize("file", ["their.txt", ""], ids=["folder with a file", "a file"])
def test_foreign_folders_are_refused(tmp_path, file):
    folder = tmp_path / "theirs"
    if file:
        folder.mkdir()
    (folder / file if file else folder).write_text("precious")
    with pytest.raises(FileExistsError, match="theirs is .*with -o"):
        demo.run_demo(folder, "cpu")
    assert len(list(tmp_path.rglob("*"))) == (2 if file else 1)


def test_the_command_line_explains_in_one_line(tmp_path, capsys):
    (tmp_path / "their.txt").write_text("precious")
    assert main(["demo", "-o", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("nnunet_mamba demo: error: ") and error.count("\n") == 1


def test_an_empty_folder_is_used_and_marked(tmp_path):
    assert DemoFolder(tmp_path).done == []
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]
    DemoFolder(tmp_path).finish("phantom")
    assert DemoFolder(tmp_path).done == ["phantom"]


def test_scripts_are_found_beside_this_python_not_through_path(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert os.path.isfile(find_script("pip"))
    with pytest.raises(RuntimeError, match="no_such_command is not installed with"):
        find_script("no_such_command")


@pytest.fixture
def as_script(monkeypatch):
    """Lets every command run `python`."""
    monkeypatch.setattr("nnunet_mamba.demo.runner.find_script", lambda name: sys.executable)


def test_output_is_shown_and_logged_and_variables_arrive(as_script, tmp_path, capsys):
    code = (
        "import os, sys; print(os.environ['DEMO'], os.getcwd()); "
        "print('bar \\u2588', end='\\r', file=sys.stderr); sys.exit(5)"
    )
    log = tmp_path / "log"
    assert run_command(["python", "-c", code], tmp_path, {"DEMO": "value"}, log) == 5
    printed = capsys.readouterr().out
    assert printed.startswith(f"value {tmp_path.resolve()}") and "bar " in printed
    assert log.read_bytes().startswith(b"value ")


def test_a_log_that_cannot_be_written_stops_the_command(as_script, tmp_path):
    with pytest.raises(FileNotFoundError):
        run_command(["python", "-c", "import time; time.sleep(60)"], tmp_path, {}, tmp_path / "missing" / "log")


POSIX = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@POSIX
def test_a_killed_command_does_not_hang_on_its_workers(as_script, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("nnunet_mamba.demo.runner.GRACE", 0.2)
    code = (
        "import os, signal, subprocess, sys; "
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print(p.pid, flush=True); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert run_command(["python", "-c", code], tmp_path, {}, tmp_path / "log") == -signal.SIGKILL
    assert_ends(int(capsys.readouterr().out))


@POSIX
def test_an_interrupt_stops_the_command_and_its_workers(tmp_path):
    worker = "import time; time.sleep(60)"
    command = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGINT, lambda *_: print('COMPLAINT')); "
        f"p = subprocess.Popen([sys.executable, '-c', {worker!r}]); print(p.pid, flush=True); time.sleep(60)"
    )
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a background shell ignores SIGINT
        "import sys; from pathlib import Path; from nnunet_mamba.demo import runner; "
        "runner.find_script = lambda name: sys.executable; runner.GRACE = 0.2; "
        f"runner.run_command(['python', '-c', {command!r}], Path('.'), {{}}, Path('log'))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    pid = int(parent.stdout.readline())
    parent.send_signal(signal.SIGINT)
    assert parent.wait(timeout=20) != 0
    assert b"COMPLAINT" not in parent.stdout.read() and b"COMPLAINT" in (tmp_path / "log").read_bytes()
    assert_ends(pid)


def assert_ends(pid):
    for _ in range(50):
        if not is_running(pid):
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the worker is still running")


def is_running(pid):
    """Whether the process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not os.path.isdir("/proc/self")  # a system without /proc, or the process has just ended
