"""The whole demo: phantom, stock commands, Dice, picture."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_mamba.demo.folder import DemoFolder
from nnunet_mamba.demo.phantom import write_phantom
from nnunet_mamba.demo.result import draw_result
from nnunet_mamba.demo.runner import as_typed, run_command
from nnunet_mamba.demo.steps import REPORT, TRAINED, Step, command_steps
from nnunet_mamba.devices import best_device
from nnunet_mamba.nnunet_folders import VARIABLES as NNUNET_VARIABLES

PHANTOM_CASES = 40
PHANTOM_SIZE = (64, 96)


def run_demo(path: str | Path, device: str) -> None:
    """Run the steps that are not done yet in `path`, then print the mean Dice, and where overlays and the report are.

    Args:
        path: the demo's folder.
        device: auto, cpu, cuda or mps.
    Raises:
        FileExistsError: `path` is not a demo's folder.
        RuntimeError: a command failed; the message has its exit status and the path of its output.
    """
    folder = DemoFolder(path)
    device = best_device() if device == "auto" else device
    steps = command_steps(device)
    variables = child_variables(folder.path, device)
    total = 1 + len(steps)
    print(f"The commands run in {folder.path} on the device {device}, with")
    for name in NNUNET_VARIABLES:
        print(f"  {name}={variables[name]}")

    try:
        with _step(folder, "phantom", f"[1/{total}] phantom: {PHANTOM_CASES} synthetic skin images as PH2") as needed:
            if needed:
                folder.clear(["PH2Dataset"])
                write_phantom(folder.path, cases=PHANTOM_CASES, size=PHANTOM_SIZE)
        for number, step in enumerate(steps, start=2):
            with _step(folder, step.name, f"[{number}/{total}] {step.name} {step.title}") as needed:
                if needed:
                    _run_step(folder, number, step, variables)
    except KeyboardInterrupt as stop:
        stop.args = (f"run the demo again to continue after: {', '.join(folder.done) or 'nothing'}",)
        raise

    picture = folder.path / "overlay.png"
    dice = draw_result(folder.path, picture)
    print(f"\nmean Dice over the held-out images: {dice:.3f}")
    print(f"overlays of truth and prediction:   {picture}")
    print(f"all numbers and every case, a page: {folder.path / REPORT / 'index.html'}")


@contextmanager
def _step(folder: DemoFolder, name: str, heading: str) -> Iterator[bool]:
    """Yields whether a step is still needed. Prints its heading and time, and records it as done."""
    if name in folder.done:
        print(f"\n{heading}: done before, reused", flush=True)
        yield False
        return
    print(f"\n{heading}", flush=True)
    start = time.monotonic()
    yield True
    folder.finish(name)
    print(f"{heading}: done in {time.monotonic() - start:.0f} s", flush=True)


def _run_step(folder: DemoFolder, number: int, step: Step, variables: dict[str, str]) -> None:
    folder.clear(step.clears)
    command = step.command
    if step.name == "train" and any((folder.path / TRAINED).glob("checkpoint_*.pth")):
        command = [*command, "--c"]  # resume the interrupted training
    logs = folder.path / "logs"
    logs.mkdir(exist_ok=True)
    log = logs / f"{number}_{step.name}.log"
    print(f"$ {as_typed(command)}", flush=True)
    status = run_command(command, folder.path, variables, log)
    if status != 0:
        how = f"failed with exit status {status}" if status > 0 else f"was killed by signal {-status}"
        raise RuntimeError(f"{as_typed(command)} {how}; its output is in {log}")


def child_variables(folder: Path, device: str) -> dict[str, str]:
    """The commands' environment variables: nnU-Net's folders in `folder`, and settings for little work."""
    variables = {name: str(folder / name) for name in NNUNET_VARIABLES}
    variables |= {"nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "1"}
    # torch's waiting threads would spin: on a busy machine an iteration then takes up to 60 times longer
    variables["OMP_WAIT_POLICY"] = "PASSIVE"
    if device == "cuda":
        variables["nnUNet_compile"] = "F"  # compiling would take longer than these epochs
    if device == "mps":
        variables["PYTORCH_ENABLE_MPS_FALLBACK"] = "1"
    return variables
