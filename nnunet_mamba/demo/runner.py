"""Runs one console script of this environment with its output on the screen and in a log, and stops it with its workers."""

import codecs
import contextlib
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
POLL = 0.2  # seconds: on Windows a wait without end would not notice Ctrl-C
GRACE = 5  # seconds that an interrupted command has to end by itself


def find_script(name: str) -> str:
    """Path of the console script `name` installed with this Python, wherever PATH points.

    Raises:
        RuntimeError: it is not there.
    """
    folders = [str(Path(sys.executable).parent), sysconfig.get_path("scripts")]
    folders.append(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")))
    script = shutil.which(name, path=os.pathsep.join(folders))
    if script is None:
        raise RuntimeError(
            f"the command {name} is not installed with {sys.executable} (looked in {', '.join(dict.fromkeys(folders))}): "
            "install nnunet_mamba into this environment with pip"
        )
    return script


def as_typed(command: Sequence[str]) -> str:
    """The command as one would type it in this system's shell."""
    return subprocess.list2cmdline(command) if WINDOWS else shlex.join(command)


def run_command(command: Sequence[str], folder: Path, variables: Mapping[str, str], log: Path) -> int:
    """Run `command` in `folder`, show its output as it comes, keep it in `log`; returns the exit status as `Popen` does.

    No process of the command outlives the call, however it ends.

    Args:
        command: name of a console script and its arguments.
        variables: environment variables set for the command besides those of this process.
    Raises:
        RuntimeError: the script is not installed.
        OSError: the output could not be shown or kept; the command was stopped.
        KeyboardInterrupt: the user's; the command was stopped.
    """
    arguments = [find_script(command[0]), *command[1:]]
    # what the command prints can then be printed here too, bars and umlauts on any console
    encoding = sys.stdout.encoding or "utf-8"
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": f"{encoding}:replace"} | dict(variables)
    process = subprocess.Popen(
        arguments,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=not WINDOWS,  # a group of its own, so that its workers can be stopped with it
    )
    # in a thread: workers of a command that was killed hold its output open, and reading would never end
    errors: list[OSError] = []
    stream = threading.Thread(target=_stream, args=(process, log, encoding, errors), daemon=True)
    stream.start()
    try:
        while process.poll() is None and not errors:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
        stream.join(GRACE)
        if errors:
            raise errors[0]
        return process.returncode
    finally:
        _stop(process)
        stream.join(GRACE)


def _stream(process: subprocess.Popen, log: Path, encoding: str, errors: list[OSError]) -> None:
    # by pieces, not by lines: progress bars rewrite a line that has no end
    decoder = codecs.getincrementaldecoder(encoding)(errors="backslashreplace")
    try:
        with open(log, "wb") as file:
            while piece := process.stdout.read1(4096):
                file.write(piece)
                sys.stdout.write(decoder.decode(piece))
                sys.stdout.flush()
    except OSError as error:
        errors.append(error)


def _stop(process: subprocess.Popen) -> None:
    """End the process, if it has not ended, and those that it started: asked first, then made to."""
    if WINDOWS:
        if process.poll() is None:
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True)
        process.wait()
        return
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the latter from macOS for a group that has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
