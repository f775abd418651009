"""How commands end: their status, the one line that they say, and what happens to their children."""

import os
import signal
import subprocess
import sys
import time
from importlib import import_module

import pytest

from nnunet_mamba.cli.main import COMMANDS, main
from nnunet_mamba.exit_status import SignalInterrupt, exit_status, stops_raise

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


def raises(error):
    def command():
        raise error

    return command


def stopped_by(number):
    def command():
        with stops_raise():
            os.kill(os.getpid(), number)
            time.sleep(60)

    return command


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (lambda: None, 0, ""),
        (lambda: 3, 3, ""),
        (raises(ValueError("-d: got 0")), 1, "it: error: -d: got 0\n"),
        (raises(FileNotFoundError(2, "gone", "a.png")), 1, "it: error: [Errno 2] gone: 'a.png'\n"),
        (raises(RuntimeError("no")), 1, "it: error: no\n"),
        (raises(KeyboardInterrupt()), 130, "it: interrupted\n"),
        (raises(KeyboardInterrupt("half is written")), 130, "it: interrupted; half is written\n"),
        pytest.param(stopped_by(signal.SIGTERM), 143, "it: stopped by SIGTERM\n", marks=POSIX),
        pytest.param(stopped_by(getattr(signal, "SIGHUP", 1)), 129, "it: stopped by SIGHUP\n", marks=POSIX),
    ],
)
def test_status_and_line(capsys, command, status, said):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert exit_status("it", command) == status
    assert capsys.readouterr().err == said
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_other_errors_are_bugs_and_keep_their_traceback():
    with pytest.raises(KeyError):
        exit_status("it", raises(KeyError("x")))


@POSIX
def test_an_ignored_signal_stays_ignored():
    """As nohup asks."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stops_raise():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_in_one_line(name, capsys, monkeypatch):
    """Ctrl-C while the command works, and while its options are read."""
    module = import_module(f"nnunet_mamba.cli.{name.replace('-', '_')}")
    required = {"convert": ["PH2"], "plan": ["-d", "1"], "search": ["-d", "1", "-f", "0"]}
    required |= {"report": ["-o", "out"], "profile": ["-tr", "nnUNetTrainer"]}
    required["import-weights"] = ["vmamba", "file", "-o", "out"]
    required["predict"] = ["-m", "model", "-i", "images", "-o", "out"]
    required["export"] = ["-m", "model", "-o", "model.onnx"]
    monkeypatch.setattr(module, "run", raises_for_arguments(KeyboardInterrupt()))
    assert main([name, *required.get(name, [])]) == 130
    assert capsys.readouterr().err == f"nnunet_mamba {name}: interrupted\n"
    monkeypatch.setattr(module, "add_arguments", raises_for_arguments(KeyboardInterrupt()))
    assert main([name]) == 130
    assert capsys.readouterr().err == "nnunet_mamba: interrupted\n"


def test_an_interrupted_search_says_how_it_resumes(monkeypatch, capsys):
    from nnunet_mamba.search import run

    def interrupted(search, evolution):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_search", interrupted)
    assert main(["search", "-d", "PH2", "-f", "0"]) == 130
    said = "nnunet_mamba search: interrupted; run the same command again, and the search resumes\n"
    assert capsys.readouterr().err == said


def raises_for_arguments(error):
    def run(arguments):
        raise error

    return run


@POSIX
def test_children_say_nothing(tmp_path):
    """A pool of spawned and one of forked workers, as nnU-Net starts them. Ctrl-C reaches all."""
    (tmp_path / "work.py").write_text(
        """
import multiprocessing, os, signal, sys, time
from nnunet_mamba.exit_status import exit_status
from nnunet_mamba.quiet_children import without_interrupts

def command():
    with without_interrupts():
        contexts = [multiprocessing.get_context(name) for name in ("spawn", "fork")]
        with contexts[0].Pool(2) as spawned, contexts[1].Pool(2) as forked:
            spawned.map(abs, range(4)), forked.map(abs, range(4))
            print("READY", flush=True)
            while True:
                time.sleep(0.1)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(exit_status("it", command))
"""
    )
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "work.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "READY\n"
    os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=60)[1]
    assert (process.returncode, error) == (130, "it: interrupted\n")
    for _ in range(100):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a child is still running")


def test_a_stop_is_an_interrupt():
    """So that whatever cleans up after Ctrl-C cleans up after it."""
    assert issubclass(SignalInterrupt, KeyboardInterrupt)


@pytest.mark.parametrize("module", ["nnunet_mamba", "nnunet_mamba.dataset_conversion"])
def test_python_m(module, tmp_path):
    argv = ["PH2", "-i", str(tmp_path / "missing"), "-d", "501"]
    prog = f"python -m {module}" if module.endswith("conversion") else "nnunet_mamba convert"
    argv = argv if module.endswith("conversion") else ["convert", *argv]
    environment = os.environ | {f"nnUNet_{name}": str(tmp_path / name) for name in ("raw", "preprocessed", "results")}
    done = subprocess.run([sys.executable, "-m", module, *argv], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"{prog}: error: {tmp_path / 'missing'}: no such folder or zip; check -i\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("nnunet_mamba ", {"convert", "plan", "search"}),
        ("nnunet_mamba convert Sunny", {"Sunnybrook "}),
        ("nnunet_mamba convert Sunnybrook --ta", {"--target "}),
        ("nnunet_mamba plan --network ", {"da_mambanet", "slicemamba_supernet"}),
    ],
)
def test_tab_completion(typed, offered, tmp_path):
    pytest.importorskip("argcomplete")
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_TYPE": "9", "COMP_LINE": typed}
    asked |= {"COMP_POINT": str(len(typed)), "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "offered")}
    subprocess.run([sys.executable, "-m", "nnunet_mamba"], env=os.environ | asked, check=True)
    assert offered <= set((tmp_path / "offered").read_text().split("\n"))
