"""Trains: synthetic skin images through nnU-Net's own commands, and two processes that share one training."""

import json
import math
import os
import re
import subprocess
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from gpu.parts import Setup
from gpu.report import LeftOut, Missed, Report
from gpu.trainer import STOCK
from gpu.two_processes import train_in_two
from nnunet_mamba import catalogue

DATASET = "Dataset501_PH2"
CASES, SIZE, TEST_CASES = 80, (192, 256), 20
DRY_CASES, DRY_SIZE, DRY_TEST_CASES = 7, (32, 48), 2
EPOCHS, ITERATIONS = 4, 60
DRY_EPOCHS, DRY_ITERATIONS = 2, 1
GOOD_DICE = 0.5  # the lesions are easy: less than this means that something is broken
OWN = '''"""nnU-Net's trainers for a minute or two."""

from {module} import {base}


class {name}({base}):
    num_epochs, num_iterations_per_epoch, num_val_iterations_per_epoch = {epochs}, {iterations}, 2
'''
Command = Callable[..., None]


def run(report: Report, setup: Setup) -> None:
    """The first network, two processes, then the others as time allows."""
    for package in ("nnunetv2", "nnunet_mamba.trainers"):
        if find_spec(package) is None:
            raise LeftOut(f"{package} is not installed here: pip install nnunet-mamba, or --wheels DIR")
    first, *others = [entry.trainer for entry in catalogue.entries() if not entry.finds]
    with _commands(setup) as command:
        rows: dict[str, Callable[[], dict | None]] = {
            "convert, plan, preprocess": partial(_prepare, setup, command),
            f"{first}, nnUNetv2_train -num_gpus 1, predict": partial(_train, setup, command, first),
            f"{first}, two processes": partial(train_in_two, setup, first),
        }
        if not setup.dry:
            names = [STOCK, *others]
            rows |= {f"{x}, nnUNetv2_train -num_gpus 1, predict": partial(_train, setup, command, x) for x in names}
        report.run(rows)


@contextmanager
def _commands(setup: Setup):
    """A function that runs a console script; in a dry run all in one process, which imports torch only once."""
    home = setup.work / "trains"
    if setup.dry:
        from helpers.nnunet_home import NnUNetHome

        with NnUNetHome(home) as one_process:
            yield one_process.command
    else:
        yield partial(_run, _environment(home))


def _environment(home: Path) -> dict[str, str]:
    """nnU-Net's folders, and no torch.compile: it takes longer than these epochs."""
    folders = {f"nnUNet_{name}": str(home / name) for name in ("raw", "preprocessed", "results")}
    own = {"nnUNet_extTrainer": str(home / "trainers_of_the_user"), "nnUNet_compile": "F", "PYTHONUNBUFFERED": "1"}
    return folders | own


def _run(environment: dict[str, str], name: str, *arguments: object) -> None:
    """Raises RuntimeError with the end of the output if the command fails."""
    from nnunet_mamba.demo.runner import as_typed, find_script

    typed = [name, *map(str, arguments)]
    print("$", as_typed(typed), flush=True)
    command = [find_script(name), *typed[1:]]
    done = subprocess.run(
        command, env=os.environ | environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    print(done.stdout, flush=True)
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise RuntimeError("\n".join([f"{as_typed(typed)} ended with exit status {done.returncode}", *lines[-4:]]))


def _prepare(setup: Setup, command: Command) -> dict:
    from nnunet_mamba.demo.phantom import write_phantom

    home = setup.work / "trains"
    cases, size, test_cases = (DRY_CASES, DRY_SIZE, DRY_TEST_CASES) if setup.dry else (CASES, SIZE, TEST_CASES)
    if not (home / "PH2Dataset").exists():
        write_phantom(home, cases=cases, size=size)
    if not (home / "raw" / DATASET).exists():
        _run(
            _environment(home),
            "nnunet_mamba",
            "convert",
            "PH2",
            "-i",
            home / "PH2Dataset",
            "-d",
            501,
            "--test",
            test_cases,
        )
    workers = [] if not setup.dry else ["-npfp", 1, "-np", 1]
    command("nnUNetv2_plan_and_preprocess", "-d", 501, "-c", "2d", "--verify_dataset_integrity", *workers)
    return _planned(home)


def _planned(home: Path) -> dict:
    plans = json.loads((home / "preprocessed" / DATASET / "nnUNetPlans.json").read_text())["configurations"]["2d"]
    return {"patch": "x".join(map(str, plans["patch_size"])), "batch": plans["batch_size"]}


def _train(setup: Setup, command: Command, base: str) -> dict:
    """Train, predict what was held out, evaluate.

    Raises:
        Missed: a loss is not finite or the last one not below the first, or the Dice is poor.
    """
    home = setup.work / "trains"
    if not (home / "preprocessed" / DATASET / "nnUNetPlans.json").exists():
        raise RuntimeError(f"{DATASET} is not planned: the first row of this part says why; run with --again")
    name = _own_trainer(setup, home / "trainers_of_the_user", base)
    device = ["-device", setup.device]
    fold = home / "results" / DATASET / f"{name}__nnUNetPlans__2d" / "fold_0"
    go_on = ["--c"] if list(fold.glob("checkpoint_*.pth")) else []
    command("nnUNetv2_train", 501, "2d", 0, "-tr", name, "-num_gpus", 1, *device, *go_on)
    images, labels = (home / "raw" / DATASET / kind for kind in ("imagesTs", "labelsTs"))
    predicted = home / "predicted" / name
    workers = ["-npp", 1, "-nps", 1] if setup.dry else []
    options = ["-d", 501, "-c", "2d", "-f", 0, "-tr", name, *device, *workers]
    command("nnUNetv2_predict", *options, "-i", images, "-o", predicted)
    command("nnUNetv2_evaluate_simple", labels, predicted, "-l", 1, "-np", 1)
    dice = json.loads((predicted / "summary.json").read_text())["foreground_mean"]["Dice"]
    losses = _losses(fold)
    facts = {"losses": [round(loss, 4) for loss in losses], "dice": round(dice, 4)}
    if not all(map(math.isfinite, losses)):
        raise Missed(f"got the losses {losses}, wanted finite ones", facts)
    if not setup.dry and not losses[-1] < losses[0]:
        raise Missed(f"got the losses {losses}, wanted the last one below the first", facts)
    if not setup.dry and not dice > GOOD_DICE:
        raise Missed(f"got a Dice of {dice:.3f} on {TEST_CASES} easy images, wanted more than {GOOD_DICE}", facts)
    return facts


def _own_trainer(setup: Setup, folder: Path, base: str) -> str:
    """Write a trainer of the user's own: `base` for a few short epochs."""
    stock = "nnunetv2.training.nnUNetTrainer.nnUNetTrainer"
    epochs, iterations = (DRY_EPOCHS, DRY_ITERATIONS) if setup.dry else (EPOCHS, ITERATIONS)
    name = f"OnGpu{base}"
    module = stock if base == STOCK else "nnunet_mamba.trainers"
    folder.mkdir(parents=True, exist_ok=True)
    source = OWN.format(module=module, base=base, name=name, epochs=epochs, iterations=iterations)
    (folder / f"on_gpu_{base}.py").write_text(source)
    return name


def _losses(fold: Path) -> list[float]:
    """The training loss of each epoch, as nnU-Net's log has it."""
    log = max(fold.glob("training_log_*.txt")).read_text()
    return [float(loss) for loss in re.findall(r"train_loss (\S+)", log)]
