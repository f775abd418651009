"""Check this installation: versions, devices, scan engine, whether nnU-Net finds the trainers, its folders."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from packaging.version import Version

from nnunet_mamba import catalogue
from nnunet_mamba.hidden_folders import REPLACED, left_behind
from nnunet_mamba.messages import first_line
from nnunet_mamba.nnunet_folders import VARIABLES
from nnunet_mamba.nnunet_plugin import FOLDER, VARIABLE

LEAST = {"torch": "2.4", "nnunetv2": "2.8"}
SHOWN = ("nnunet-mamba", "torch", "torchvision", "nnunetv2", "numba", "SimpleITK", "optuna", "triton", "mamba-ssm")
LOOK_UP = """
from nnunet_mamba import catalogue
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
print("FOUND", *{recursive_find_trainer_class_by_name(name).__module__ for name in catalogue.names()})
"""


class Finding(NamedTuple):
    """One line of the report. `fix` says what to do about a red line and is empty if nothing is wrong."""

    subject: str
    state: str
    fix: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def run(args: argparse.Namespace) -> int:
    """Print the report, ready to paste into an issue; returns 1 if a line is red."""
    colours = sys.stdout.isatty()
    red = 0
    for finding in findings():
        red += bool(finding.fix)
        mark = "FAIL" if finding.fix else "ok"
        if colours:
            mark = f"\033[{31 if finding.fix else 32}m{mark:4}\033[0m"
        print(f"{mark:4}  {finding.subject:24} {finding.state}")
        if finding.fix:
            print(f"      {'':24} -> {finding.fix}")
    print(f"\n{red} to fix" if red else "\nnothing to fix")
    return 1 if red else 0


def findings() -> Iterator[Finding]:
    """All findings, in the order of the report."""
    yield Finding("python", f"{sys.version.split()[0]} on {sys.platform}")
    for package in SHOWN:
        yield _version(package)
    if find_spec("torch"):
        yield from _devices()
        yield from _engines()
    yield _trainers()
    for variable in VARIABLES:
        yield _folder(variable)
        yield from _left_behind(variable)


def _version(package: str) -> Finding:
    least = LEAST.get(package)
    try:
        found = version(package)
    except PackageNotFoundError:
        missing = f"pip install {package}" if package in ("torch", "nnunetv2", "numba", "SimpleITK") else ""
        return Finding(package, "not installed" if missing else "not installed, not needed", missing)
    if least and Version(found) < Version(least):
        return Finding(package, f"{found}, wanted {least} or later", f"pip install --upgrade '{package}>={least}'")
    return Finding(package, found)


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("CPU threads", str(torch.get_num_threads()))
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            memory = torch.cuda.get_device_properties(i).total_memory / 2**30
            yield Finding(f"GPU {i}", f"{torch.cuda.get_device_name(i)}, {memory:.0f} GiB")
    elif torch.backends.mps.is_available():
        yield Finding("GPU", "Apple (mps)")
    else:
        yield Finding("GPU", "none that torch can use: train and predict with -device cpu")
    built_for = torch.version.cuda or torch.version.hip
    if built_for and find_spec("torchvision"):
        yield _torchvision(built_for)


def _torchvision(built_for: str) -> Finding:
    """A torchvision built for another torch cannot be imported, or lacks its operators on the GPU."""
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        return Finding(
            "torchvision",
            f"cannot be imported ({first_line(error)})",
            "install torch and torchvision together, of one build",
        )
    if not getattr(torchvision.version, "cuda", None) and not getattr(torchvision.version, "hip", None):
        state = f"{torchvision.__version__} without GPU operators beside torch for {built_for}"
        return Finding("torchvision", state, "install torch and torchvision together, of one build")
    return Finding("torchvision's build", f"has GPU operators, as torch for {built_for}")


def _engines() -> Iterator[Finding]:
    """Runs a tiny scan on each device of this machine, with the engine that a training would use."""
    import torch

    from nnunet_mamba.ops import engines, selective_scan

    asked = os.environ.get(engines.VARIABLE)
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for device in (name for name, usable in there.items() if usable):
        why = f"{engines.VARIABLE} asks for it" if asked else f"the default on {device}"
        u, rate, steering = (torch.ones(shape, device=device) for shape in ((1, 2, 3), (2, 1), (1, 1, 3)))
        try:
            name = engines.engine_for(device, torch.float32)
            result, state = selective_scan(u, u, -rate, steering, steering, return_last_state=True)
        except (ValueError, ImportError, RuntimeError) as error:
            other = "another name, or unset it" if asked else "torch"
            yield Finding(f"scan on {device}", f"fails: {first_line(error)}", f"set {engines.VARIABLE} to {other}")
        else:
            finite = bool(result.isfinite().all() and state.isfinite().all())
            fix = "" if finite else f"set {engines.VARIABLE}=torch, and report this"
            found = why if finite else f"gives {result}, last state {state}"
            yield Finding(f"scan on {device}", f"engine '{name}', {found}", fix)


def _trainers() -> Finding:
    """Looks up every trainer in a new interpreter, like nnU-Net's commands."""
    done = subprocess.run([sys.executable, "-c", LOOK_UP], capture_output=True, text=True)
    if "FOUND nnunet_mamba.trainers" in done.stdout:
        return Finding("nnU-Net finds trainers", f"yes, {', '.join(catalogue.names())}")
    reason = (done.stderr.strip().splitlines() or ["not found"])[-1]
    if VARIABLE in os.environ and FOLDER in os.environ[VARIABLE].split(os.pathsep):
        return Finding(
            "nnU-Net finds trainers", f"no: {reason}", "reinstall nnunet-mamba into the environment of nnU-Net"
        )
    return Finding(
        "nnU-Net finds trainers", f"no: {reason}", f"this Python does not read .pth files: set {VARIABLE}={FOLDER}"
    )


def _folder(variable: str) -> Finding:
    value = os.environ.get(variable)
    if not value:
        return Finding(variable, "not set", f"export {variable}=/a/folder/of/yours")
    if not os.path.isdir(value):
        return Finding(variable, f"{value}: no such folder", f"mkdir -p '{value}', or set {variable} to another")
    try:
        with tempfile.TemporaryFile(dir=value):
            pass
    except OSError as error:
        fix = f"change its rights, or set {variable} to another"
        return Finding(variable, f"{value}: cannot be written ({error.strerror})", fix)
    return Finding(variable, f"{value}, can be written")


def _left_behind(variable: str) -> Iterator[Finding]:
    """What conversions that were killed left; nnU-Net does not see it, but it may be large."""
    value = os.environ.get(variable)
    for folder, certain in left_behind([Path(value)] if value else []).items():
        fix = f"delete it: rm -r '{folder}'" + ("" if certain else ", if no conversion is running")
        if folder.suffix == REPLACED:
            fix = "it is the data set before a conversion that was killed: rename it back, or delete it"
        yield Finding("left by a conversion", str(folder), fix)
