"""The demo from start to end: phantom, the stock commands, Dice, picture."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_mamba.demo.folder import DemoFolder
from nnunet_mamba.demo.phantom import write_phantom
from nnunet_mamba.demo.result import draw_result
from nnunet_mamba.demo.runner import as_typed, run_command
from nnunet_mamba.demo.steps import TRAINED, Step, command_steps

PHANTOM_CASES = 40
PHANTOM_SIZE = (64, 96)


def run_demo(path: str | Path, device: str) -> None:
    """Run the steps that `path` does not have yet, then print the mean Dice and the path of the overlays.

    Args:
        path: the demo's folder.
        device: auto, cpu, cuda or mps.
    Raises:
        FileExistsError: `path` holds something else.
        RuntimeError: a command failed; says which, with what exit status, and where its output is.
    """
    folder = DemoFolder(path)
    device = find_device() if device == "auto" else device
    steps = command_steps(device)
    variables = child_variables(folder.path, device)
    total = 1 + len(steps)
    print(f"The commands run in {folder.path} on the device {device}, with")
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        print(f"  {name}={variables[name]}")

    try:
        with _step(folder, "phantom", f"[1/{total}] phantom: {PHANTOM_CASES} synthetic skin images as PH2") as needed:
            if needed:
                folder.clear(["PH2Dataset"])
                write_phantom(folder.path, PHANTOM_CASES, PHANTOM_SIZE)
        for number, step in enumerate(steps, start=2):
            with _step(folder, step.name, f"[{number}/{total}] {step.name} {step.title}") as needed:
                if needed:
                    _run_step(folder, number, step, variables)
    except KeyboardInterrupt:
        print(f"\nstopped; run the demo again to continue after: {', '.join(folder.done) or 'nothing'}")
        raise

    picture = folder.path / "overlay.png"
    dice = draw_result(folder.path, picture)
    print(f"\nmean Dice over the held-out images: {dice:.3f}")
    print(f"overlays of truth and prediction:   {picture}")


@contextmanager
def _step(folder: DemoFolder, name: str, heading: str) -> Iterator[bool]:
    """Prints the heading and the time taken around a step, and notes it as done; gives whether the step is needed."""
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
        command = [*command, "--c"]  # continues an interrupted training
    logs = folder.path / "logs"
    logs.mkdir(exist_ok=True)
    log = logs / f"{number}_{step.name}.log"
    print(f"$ {as_typed(command)}", flush=True)
    status = run_command(command, folder.path, variables, log)
    if status != 0:
        how = f"failed with exit status {status}" if status > 0 else f"was killed by signal {-status}"
        raise RuntimeError(f"{as_typed(command)} {how}; its output is in {log}")


def child_variables(folder: Path, device: str) -> dict[str, str]:
    """The environment variables of the commands: nnU-Net's folders below `folder`, and the little that small work needs."""
    variables = {name: str(folder / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    variables |= {"nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "1"}
    # torch's threads otherwise spin while they wait: where other work runs, an iteration then takes up to 60 times as long
    variables["OMP_WAIT_POLICY"] = "PASSIVE"
    if device == "cuda":
        variables["nnUNet_compile"] = "F"  # compiling takes longer than these epochs
    if device == "mps":
        variables["PYTORCH_ENABLE_MPS_FALLBACK"] = "1"
    return variables


def find_device() -> str:
    """The fastest device there is, as nnU-Net names it."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
