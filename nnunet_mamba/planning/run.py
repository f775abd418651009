"""From a data set's number to plans on disk: its fingerprint if missing, and nnU-Net's planning with our planner."""

import contextlib
import io
import json
import math
from pathlib import Path
from typing import NamedTuple

from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset, plan_experiment_dataset

from nnunet_mamba import catalogue
from nnunet_mamba.machine_memory import GIB
from nnunet_mamba.nnunet_folders import (
    PREPROCESSED,
    RAW,
    dataset_number,
    find_dataset_folder,
    nnunet_folder,
    require_writable,
)
from nnunet_mamba.planning.budget import Budget
from nnunet_mamba.planning.patch_and_batch import NothingFits
from nnunet_mamba.planning.planner import PLANNERS, SHARED_PLANS
from nnunet_mamba.planning.training_step import Sizes, build_network
from nnunet_mamba.quiet_children import without_interrupts


class Planned(NamedTuple):
    """What was written: the plans' name and file, their 2d configuration, and the bytes that a training step takes.

    `training_cases`: in fold 0.
    """

    dataset: str
    name: str
    file: Path
    configuration: dict
    step_bytes: int
    is_preprocessed: bool
    training_cases: int


@without_interrupts()  # nnU-Net's workers would each say that they were interrupted
def plan(
    dataset: str, network: str, budget: Budget, name: str | None = None, sizes: Sizes = (), overwrite: bool = False
) -> Planned:
    """Plan the configuration 2d of a data set in nnUNet_raw for one of our networks.

    Extracts the fingerprint if there is none, as nnUNetv2_plan_and_preprocess does.

    Args:
        dataset: its number or name.
        network: a key of the catalogue.
        name: of the plans; None makes one of the network's name and the memory.
        sizes: of the network, if not the published ones; they become part of the plans.
        overwrite: plans of this name may be there; they are replaced.
    Raises:
        ValueError: the network has no such sizes; or the memory is too small for the smallest patch (the message says
            what is needed); or `name` is taken; or nnU-Net's folders are not set; or there is no such data set, or
            several.
        OSError: nnUNet_preprocessed cannot be written.
    """
    if sizes:
        build_network(network, 3, 2, (32, 32), sizes)  # raises if the sizes are wrong
    dataset = _raw_dataset(dataset)
    dataset_id = dataset_number(dataset)
    require_writable(PREPROCESSED, nnunet_folder(PREPROCESSED))
    folder = nnunet_folder(PREPROCESSED) / dataset
    of_sizes = "".join("_" + "-".join(map(str, size)) for _, size in sizes)
    name = name or f"nnUNetMambaPlans_{catalogue.network(network).network}{of_sizes}_{budget.total:g}G_{budget.kind}"
    _check_name(name, folder, overwrite)
    if not (folder / "dataset_fingerprint.json").exists():
        print("Fingerprint: none yet, extracting", flush=True)
        extract_fingerprint_dataset(dataset_id)
    of_published_size = PLANNERS[network, budget.kind]
    planner = type(of_published_size.__name__, (of_published_size,), {"sizes": sizes})
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            plans, _ = plan_experiment_dataset(dataset_id, planner, budget.for_step, overwrite_plans_name=name)
    except NothingFits as error:
        needed = math.ceil(10 * (error.needed / GIB + budget.outside)) / 10
        raise ValueError(
            f"got {budget}, wanted at least {needed:.1f}: {error.what} takes "
            f"{error.needed / GIB:.2f} GiB, and everything besides the training step {budget.outside:g} GiB"
        ) from None
    except AssertionError as error:
        raise ValueError(
            f"nnU-Net refuses to plan{f' ({error})' if str(error) else ''}: splits_final.json must have the same folds "
            f"in {nnunet_folder(RAW) / dataset} and in {folder}"
        ) from error
    configuration = plans["configurations"]["2d"]
    step_bytes = planner(dataset_id).estimate(configuration["patch_size"], configuration["batch_size"])
    suffix = json.loads((folder / "dataset.json").read_text())["file_ending"]
    cases = _cases_in(nnunet_folder(RAW) / dataset / "labelsTr", suffix)
    ready = _cases_in(folder / configuration["data_identifier"], ".pkl") & _cases_in(
        folder / "gt_segmentations", suffix
    )
    return Planned(
        dataset,
        name,
        folder / f"{name}.json",
        configuration,
        step_bytes,
        bool(cases) and cases <= ready,
        _in_fold_0(cases, folder),
    )


def _raw_dataset(asked: str) -> str:
    raw_folder, _ = nnunet_folder(RAW), nnunet_folder(PREPROCESSED)
    dataset = find_dataset_folder(asked)
    if not (raw_folder / dataset / "dataset.json").is_file():
        raise ValueError(
            f"-d {asked}: there is no {dataset}/dataset.json in {raw_folder}: convert the data first "
            "(nnunet_mamba convert), or set nnUNet_raw to where it is"
        )
    return dataset


def _check_name(name: str, folder: Path, overwrite: bool) -> None:
    if Path(name).name != name or name.startswith("."):
        raise ValueError(f"-p: got {name!r}, wanted a name without folders")
    file = folder / f"{name}.json"
    ours = [planner.__name__ for planner in PLANNERS.values()]
    if name in (SHARED_PLANS, "dataset", "dataset_fingerprint", "splits_final") or (
        file.exists() and json.loads(file.read_text()).get("experiment_planner_used") not in ours
    ):
        raise ValueError(
            f"-p: got {name!r}, which is a file of nnU-Net's own or of another planner, {file}: choose another name"
        )
    if file.exists() and not overwrite:
        raise ValueError(
            f"-p: {name} is there already, {file}: choose another name with -p NAME, or replace it with --overwrite"
        )


def _cases_in(folder: Path, suffix: str) -> set[str]:
    return {file.name.removesuffix(suffix) for file in folder.glob(f"*{suffix}")}


def _in_fold_0(cases: set[str], folder: Path) -> int:
    """How many cases fold 0 trains on. Without folds nnU-Net takes four fifths."""
    splits = folder / "splits_final.json"
    if splits.is_file():
        return len(json.loads(splits.read_text())[0]["train"])
    return round(0.8 * len(cases))
