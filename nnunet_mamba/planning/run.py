"""From a data set's number to plans on disk: its fingerprint if missing, and nnU-Net's planning with our planner."""

import contextlib
import io
import json
import math
from pathlib import Path
from typing import NamedTuple

from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset, plan_experiment_dataset
from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets

from nnunet_mamba import catalogue
from nnunet_mamba.machine_memory import GIB
from nnunet_mamba.nnunet_folders import PREPROCESSED, RAW, nnunet_folder
from nnunet_mamba.planning.budget import Budget
from nnunet_mamba.planning.patch_and_batch import NothingFits
from nnunet_mamba.planning.planner import PLANNERS, SHARED_PLANS
from nnunet_mamba.planning.training_step import Sizes, build_network


class Planned(NamedTuple):
    """What was written: the plans' name and file, their 2d configuration, and the bytes that a training step takes."""

    name: str
    file: Path
    configuration: dict
    step_bytes: int
    is_preprocessed: bool


def plan(dataset_id: int, network: str, budget: Budget, name: str | None = None, sizes: Sizes = ()) -> Planned:
    """Plan the configuration 2d of a data set in nnUNet_raw for one of our networks.

    Extracts the fingerprint if there is none, as nnUNetv2_plan_and_preprocess does.

    Args:
        network: a key of the catalogue.
        name: of the plans; None makes one of the network's name and the memory.
        sizes: of the network, if not the published ones; they become part of the plans.
    Raises:
        ValueError: the network has no such sizes; or the memory is too small for the smallest patch, says what is
        needed; or `name`
            is taken by other plans; or nnU-Net's folders are not set.
        RuntimeError, FileNotFoundError: several data sets have this number, or none.
    """
    if sizes:
        build_network(network, 3, 2, (32, 32), sizes)  # raises if the sizes are wrong
    dataset = _dataset_name(dataset_id)
    folder = nnunet_folder(PREPROCESSED) / dataset
    of_sizes = "".join("_" + "-".join(map(str, size)) for _, size in sizes)
    name = name or f"nnUNetMambaPlans_{catalogue.network(network).network}{of_sizes}_{budget.total:g}G"
    _check_name(name, folder)
    if not (folder / "dataset_fingerprint.json").exists():
        print("Fingerprint: none yet, extracting", flush=True)
        extract_fingerprint_dataset(dataset_id)
    print("Planning (counts the memory of training steps, half a minute or so) ...", flush=True)
    of_published_size = PLANNERS[network, budget.kind]
    planner = type(of_published_size.__name__, (of_published_size,), {"sizes": sizes})
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            plans, _ = plan_experiment_dataset(dataset_id, planner, budget.for_step, overwrite_plans_name=name)
    except NothingFits as error:
        needed = math.ceil(10 * (error.needed / GIB + budget.outside)) / 10
        raise ValueError(
            f"got {budget}, wanted at least {needed:.1f}: {error.what} takes "
            f"{error.needed / GIB:.2f} GiB, and what is beside the training step {budget.outside:g} GiB"
        ) from None
    except AssertionError as error:
        raise ValueError(
            f"nnU-Net refuses to plan{f' ({error})' if str(error) else ''}: splits_final.json must have the same folds "
            f"in {nnunet_folder(RAW) / dataset} and in {folder}"
        ) from error
    configuration = plans["configurations"]["2d"]
    step_bytes = planner(dataset_id).estimate(configuration["patch_size"], configuration["batch_size"])
    return Planned(
        name, folder / f"{name}.json", configuration, step_bytes, _is_preprocessed(dataset, folder, configuration)
    )


def _dataset_name(dataset_id: int) -> str:
    raw_folder, _ = nnunet_folder(RAW), nnunet_folder(PREPROCESSED)
    found = find_candidate_datasets(dataset_id)
    raw = [name for name in found if (raw_folder / name / "dataset.json").is_file()]
    if len(found) > 1:
        raise RuntimeError(
            f"-d {dataset_id}: got several data sets of this number, {', '.join(found)}; wanted one: rename the others"
        )
    if not raw:
        raise FileNotFoundError(
            f"-d {dataset_id}: there is no {found[0] if len(found) else f'Dataset{dataset_id:03}_...'}/dataset.json in "
            f"{raw_folder}: convert the data first (nnunet_mamba convert), or set nnUNet_raw to where it is"
        )
    return str(raw[0])


def _check_name(name: str, folder: Path) -> None:
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


def _is_preprocessed(dataset: str, folder: Path, configuration: dict) -> bool:
    """Whether every training case was preprocessed for this configuration."""
    suffix = json.loads((folder / "dataset.json").read_text())["file_ending"]
    cases = {file.name.removesuffix(suffix) for file in (nnunet_folder(RAW) / dataset / "labelsTr").glob(f"*{suffix}")}
    there = {file.stem for file in (folder / configuration["data_identifier"]).glob("*.pkl")}
    truth = {file.name.removesuffix(suffix) for file in (folder / "gt_segmentations").glob(f"*{suffix}")}
    return bool(cases) and cases <= there & truth
