"""Runs a console script of this environment, shows and logs its output, and ends it together with its workers."""

import codecs
import contextlib
import io
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

WINDOWS = os.name == "nt"
POLL = 0.2  # seconds; on Windows an unlimited wait would not notice Ctrl-C
GRACE = 5  # seconds for an interrupted command to end by itself


def find_script(name: str) -> str:
    """Path of the console script `name` of this Python, whatever PATH says.

    Raises:
        RuntimeError: it is not there.
    """
    folders = [str(Path(sys.executable).parent), sysconfig.get_path("scripts")]
    folders.append(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")))
    script = shutil.which(name, path=os.pathsep.join(folders))
    if script is None:
        raise RuntimeError(
            f"the command {name} is not installed with {sys.executable} "
            f"(looked in {', '.join(dict.fromkeys(folders))}): install nnunet_mamba into this environment with pip"
        )
    return script


def as_typed(command: Sequence[str]) -> str:
    """The command as typed in this system's shell."""
    return subprocess.list2cmdline(command) if WINDOWS else shlex.join(command)


def run_command(command: Sequence[str], folder: Path, variables: Mapping[str, str], log: Path) -> int:
    """Run `command` in `folder`, and copy its output to the screen and to `log`; returns `Popen`'s exit status.

    No process of the command outlives this call.

    Args:
        command: a console script and its arguments.
        variables: environment variables to add to this process's.
    Raises:
        RuntimeError: the script is not installed.
        OSError: the output could not be shown or logged; the command was stopped.
        KeyboardInterrupt: the user pressed Ctrl-C; the command was stopped.
    """
    arguments = [find_script(command[0]), *command[1:]]
    # the command must print what this console can show: progress bars, umlauts
    encoding = sys.stdout.encoding or "utf-8"
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": f"{encoding}:replace"} | dict(variables)
    process = subprocess.Popen(
        arguments,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=not WINDOWS,  # its own process group, so that its workers can be stopped too
    )
    # in a thread: workers of a killed command keep its output open, so that reading would never end
    errors: list[OSError] = []
    quiet = threading.Event()
    stream = threading.Thread(target=_stream, args=(process, log, encoding, errors, quiet), daemon=True)
    stream.start()
    try:
        while process.poll() is None and not errors:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
        stream.join(GRACE)
        if errors:
            raise errors[0]
        return process.returncode
    except KeyboardInterrupt:
        quiet.set()  # what the command says about being stopped is for its log
        print()
        raise
    finally:
        _stop(process)
        stream.join(GRACE)


def _stream(process: subprocess.Popen, log: Path, encoding: str, errors: list[OSError], quiet: threading.Event) -> None:
    # in chunks, not lines: progress bars rewrite one line without ending it
    assert isinstance(process.stdout, io.BufferedReader)
    decoder = codecs.getincrementaldecoder(encoding)(errors="backslashreplace")
    try:
        with open(log, "wb") as file:
            while piece := process.stdout.read1(4096):
                file.write(piece)
                if not quiet.is_set():
                    sys.stdout.write(decoder.decode(piece))
                    sys.stdout.flush()
    except OSError as error:
        errors.append(error)


def _stop(process: subprocess.Popen) -> None:
    """End the process and all that it started: interrupt it, then kill what is left."""
    if WINDOWS:
        if process.poll() is None:
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True)
        process.wait()
        return
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, if the group has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
