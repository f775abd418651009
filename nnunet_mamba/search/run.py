"""The second step of the slicing search: evolve the slicing on cases that the supernet was not trained on."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import optuna
import torch
from nnunetv2.utilities.file_path_utilities import get_output_folder
from optuna.trial import FrozenTrial, Trial, TrialState
from tqdm import tqdm

from nnunet_mamba import __version__, catalogue
from nnunet_mamba.devices import best_device
from nnunet_mamba.nnunet_folders import PREPROCESSED, RESULTS, find_dataset_folder, nnunet_folder, require_writable
from nnunet_mamba.search.evolution import (
    Evolution,
    EvolutionSampler,
    best_first,
    candidate_of,
    value_of,
    was_drawn_before,
)
from nnunet_mamba.search.judge import Judge
from nnunet_mamba.search.plot import plot_search
from nnunet_mamba.search.result import read_result, write_result
from nnunet_mamba.search.study import explain_lost_storage, finished, open_storage, open_study, without_password
from nnunet_mamba.search.supernet import TrainedSupernet, load_supernet

SUPERNET = catalogue.network("slicemamba_supernet")
STUDY_FILE, PLOT_FILE = "search.db", "search.png"
HOPELESS = 5  # if this many candidates fail before any succeeds, the search gives up


class Search(NamedTuple):
    """The supernet to search and how to evaluate candidates; see `nnunet_mamba search --help`."""

    dataset: str
    fold: int | str
    configuration: str = "2d"
    plans: str = "nnUNetPlans"
    trainer: str = SUPERNET.trainer
    checkpoint: str = "checkpoint_final.pth"
    device: str = "auto"
    storage: str | None = None
    tiles: int | None = None
    batch_size: int | None = None
    kept_gigabytes: float = 1.0
    seed: int = 0


def run_search(search: Search, evolution: Evolution) -> Path:
    """Evaluate candidates until the study is complete, then write slicing.json and search.png beside the checkpoint.

    An interrupted search resumes, and searches on the same storage share the work.

    Raises:
        ValueError: no such supernet, cases or storage, or the storage holds this search with other settings.
        RuntimeError: the first candidates all failed, or the storage was lost.
    """
    require_writable(RESULTS, nnunet_folder(RESULTS))
    preprocessed = nnunet_folder(PREPROCESSED)
    name = find_dataset_folder(search.dataset)
    folder = Path(get_output_folder(name, search.trainer, search.plans, search.configuration, search.fold))
    supernet = load_supernet(folder, search.checkpoint, preprocessed / name, tiles=search.tiles, seed=search.seed)
    facts = asdict(evolution) | {
        "supernet": supernet.digest,
        "tiles": len(supernet.tiles),
        "seed": search.seed,
        "choices": [list(pair) for pair in supernet.network.choices],
        "blocks": len(supernet.network.blocks),
    }
    del facts["generations"]  # a later run may add generations
    storage = open_storage(search.storage or f"sqlite:///{folder / STUDY_FILE}")
    judge = Judge(
        supernet,
        torch.device(best_device() if search.device == "auto" else search.device),
        batch_size=search.batch_size or supernet.batch_size,
        kept_bytes=search.kept_gigabytes * 2**30,
    )
    kept_in = without_password(search.storage or str(folder / STUDY_FILE))
    print(f"{len(supernet.cases)} search cases in {len(supernet.tiles)} tiles, on {judge.device}; storage {kept_in}")
    with explain_lost_storage():
        study = open_study(storage, f"{name} {folder.parent.name} {folder.name}", facts)
        study.sampler = EvolutionSampler(
            evolution, len(supernet.network.blocks), len(supernet.network.choices), search.seed
        )
        rate = _evaluate(study, judge, evolution)
        trials = finished(study)
    result = _result(trials, supernet, evolution) | {"candidates_per_minute": rate, "trainer": search.trainer}
    before = read_result(folder)
    file = write_result(folder, result)
    plot_search(trials, evolution, result, supernet.network.choices, folder / PLOT_FILE)
    _report(result, file, before)
    return file


def _evaluate(study: optuna.Study, judge: Judge, evolution: Evolution) -> float | None:
    """Evaluate candidates until the study is complete; returns this process's candidates per minute, None for none."""
    network, objective = judge.network, _objective(study, judge)
    total = min(evolution.candidates, len(network.choices) ** len(network.blocks))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials, started, own = finished(study), monotonic(), 0
    with tqdm(total=total, initial=min(len(trials), total), unit="candidate", desc="search") as bar:
        while len(trials) < total:
            _give_up_where_hopeless(trials)
            study.optimize(objective, n_trials=1, catch=(Exception,))
            own += 1
            trials = finished(study)  # those of other processes too
            bar.update(min(len(trials), total) - bar.n)
            if evaluated := best_first(trials):
                bar.set_postfix_str(f"best {evaluated[0].value:.4f}")
    return round(60 * own / (monotonic() - started), 1) if own else None


def _objective(study: optuna.Study, judge: Judge) -> Callable[[Trial], float]:
    dead: set[int] = set()

    def objective(trial: Trial) -> float:
        choices = range(len(judge.network.choices))
        path = [trial.suggest_categorical(f"block{i:02}", choices) for i in range(len(judge.network.blocks))]
        if was_drawn_before(study, trial, dead):
            raise optuna.TrialPruned
        try:
            fitness = judge(path)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            trial.set_user_attr("error", reason)
            tqdm.write(f"candidate {trial.number} failed and will not be tried again: {reason}")
            raise
        trial.set_user_attr("mean_iou", fitness.mean_iou)
        trial.set_user_attr("mean_dice", fitness.mean_dice)
        return fitness.value

    return objective


def _give_up_where_hopeless(trials: Sequence[FrozenTrial]) -> None:
    failed = [trial for trial in trials if trial.state != TrialState.COMPLETE]
    if len(trials) == len(failed) >= HOPELESS:
        raise RuntimeError(
            f"the first {len(failed)} candidates all failed, the last with: {failed[-1].user_attrs['error']}. "
            "If memory is short, set a smaller --batch-size. Then start again with a new --storage, or delete this one"
        )


def _result(trials: Sequence[FrozenTrial], supernet: TrainedSupernet, evolution: Evolution) -> dict:
    """The best slicing, and the search that found it."""
    evaluated = best_first(trials)
    best = evaluated[0]
    random = [value_of(trial) for trial in evaluated if trial.number < evolution.population]
    return {
        "slicing": [list(pair) for pair in supernet.network.slicing_of(candidate_of(best))],
        "fitness": value_of(best),
        "mean_iou": best.user_attrs["mean_iou"],
        "mean_dice": best.user_attrs["mean_dice"],
        "random_slicings": {"number": len(random), "mean": statistics.fmean(random), "sd": statistics.pstdev(random)},
        "candidates": len(trials),
        "failed": len(trials) - len(evaluated),
        "search_cases": supernet.cases,
        "evolution": asdict(evolution),
        "supernet": supernet.digest,
        "nnunet_mamba": __version__,
    }


def _report(result: dict, file: Path, before: dict | None) -> None:
    random = result["random_slicings"]
    print(f"best of {result['candidates']} candidates ({result['failed']} failed): fitness {result['fitness']:.4f}, "
          f"mean IoU {result['mean_iou']:.4f}, mean Dice {result['mean_dice']:.4f}")  # fmt: skip
    print(f"{random['number']} random slicings: fitness {random['mean']:.4f} +- {random['sd']:.4f}")
    if result["candidates_per_minute"]:
        print(f"{result['candidates_per_minute']} candidates per minute in this process")
    if before and before["slicing"] != result["slicing"]:
        print(
            f"this replaces an earlier search's slicing with fitness {before['fitness']:.4f}; its storage still has it"
        )
    print(f"written: {file} and {PLOT_FILE} beside it; {SUPERNET.finds} reads the slicing from there")
