"""The second step of the slicing search: evolve the slicing on the cases that the supernet has not seen."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import optuna
import torch
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_results
from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
from nnunetv2.utilities.file_path_utilities import get_output_folder
from optuna.trial import FrozenTrial, Trial, TrialState
from tqdm import tqdm

from nnunet_mamba import __version__, catalogue
from nnunet_mamba.search.evolution import Evolution, EvolutionSampler, candidate_of, was_drawn_before
from nnunet_mamba.search.judge import Judge
from nnunet_mamba.search.plot import plot_search
from nnunet_mamba.search.result import read_result, write_result
from nnunet_mamba.search.study import explained_where_lost, finished, open_storage, open_study, without_password
from nnunet_mamba.search.supernet import TrainedSupernet, load_supernet

SUPERNET = catalogue.network("slicemamba_supernet")
STUDY_FILE, PLOT_FILE = "search.db", "search.png"
HOPELESS = 5  # failures without a single success after which a search gives up


class Search(NamedTuple):
    """Where the supernet is and how to judge candidates; see `nnunet_mamba search --help`."""

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
    """Evaluate candidates until the study has enough, then write slicing.json and search.png beside the supernet's checkpoint.

    A search that was interrupted goes on; others on the same storage share the work.

    Raises:
        ValueError: no such supernet, cases or storage, or a study in the storage that was begun otherwise.
        RuntimeError: the first candidates all failed.
    """
    for variable, folder in (("nnUNet_results", nnUNet_results), ("nnUNet_preprocessed", nnUNet_preprocessed)):
        if folder is None:
            raise ValueError(f"{variable} is not set: export {variable}=/your/folder, as for nnU-Net's own commands")
    name = _dataset_name(search.dataset)
    folder = Path(get_output_folder(name, search.trainer, search.plans, search.configuration, search.fold))
    supernet = load_supernet(folder, search.checkpoint, Path(nnUNet_preprocessed, name), search.tiles, search.seed)
    facts = asdict(evolution) | {
        "supernet": supernet.digest,
        "tiles": len(supernet.tiles),
        "seed": search.seed,
        "choices": [list(pair) for pair in supernet.network.choices],
        "blocks": len(supernet.network.places),
    }
    del facts["generations"]  # a search may be prolonged
    storage = open_storage(search.storage or f"sqlite:///{folder / STUDY_FILE}")
    judge = Judge(
        supernet, _device(search.device), search.batch_size or supernet.batch_size, search.kept_gigabytes * 2**30
    )
    kept_in = without_password(search.storage or str(folder / STUDY_FILE))
    print(f"{len(supernet.cases)} search cases in {len(supernet.tiles)} tiles, on {judge.device}; storage {kept_in}")
    with explained_where_lost():
        study = open_study(storage, f"{name} {folder.parent.name} {folder.name}", facts)
        study.sampler = EvolutionSampler(
            evolution, len(supernet.network.places), len(supernet.network.choices), search.seed
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
    """Candidates until there are enough; how many a minute this process evaluated, None if there was nothing left."""
    network, objective = judge.network, _objective(study, judge)
    total = min(evolution.candidates, len(network.choices) ** len(network.places))
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    trials, started, own = finished(study), monotonic(), 0
    with tqdm(total=total, initial=min(len(trials), total), unit="candidate", desc="search") as bar:
        while len(trials) < total:
            _give_up_where_hopeless(trials)
            study.optimize(objective, n_trials=1, catch=(Exception,))
            own += 1
            trials = finished(study)  # those of other processes too
            bar.update(min(len(trials), total) - bar.n)
            if (best := _best(trials)) is not None:
                bar.set_postfix_str(f"best {best.value:.4f}")
    return round(60 * own / (monotonic() - started), 1) if own else None


def _objective(study: optuna.Study, judge: Judge) -> Callable[[Trial], float]:
    dead: set[int] = set()

    def objective(trial: Trial) -> float:
        choices = range(len(judge.network.choices))
        path = [trial.suggest_categorical(f"block{i:02}", choices) for i in range(len(judge.network.places))]
        if was_drawn_before(study, trial, dead):
            raise optuna.TrialPruned
        try:
            fitness = judge(path)
        except Exception as error:
            trial.set_user_attr("error", f"{type(error).__name__}: {error}")
            tqdm.write(f"candidate {trial.number} failed and is recorded so: {type(error).__name__}: {error}")
            raise
        trial.set_user_attr("mean_iou", fitness.mean_iou)
        trial.set_user_attr("mean_dice", fitness.mean_dice)
        return fitness.value

    return objective


def _give_up_where_hopeless(trials: Sequence[FrozenTrial]) -> None:
    failed = [trial for trial in trials if trial.state != TrialState.COMPLETE]
    if len(trials) == len(failed) >= HOPELESS:
        raise RuntimeError(
            f"the first {len(failed)} candidates all failed, the last with: {failed[-1].user_attrs['error']}. If memory is short, "
            "set a smaller --batch-size; then begin anew with another --storage, or without the present one"
        )


def _best(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return min(complete, key=lambda trial: (-trial.value, trial.number), default=None)


def _result(trials: Sequence[FrozenTrial], supernet: TrainedSupernet, evolution: Evolution) -> dict:
    """The winner and what it was found among."""
    best = _best(trials)
    random = [
        trial.value for trial in trials if trial.number < evolution.population and trial.state == TrialState.COMPLETE
    ]
    return {
        "slicing": [list(pair) for pair in supernet.network.slicing_of(candidate_of(best))],
        "fitness": best.value,
        "mean_iou": best.user_attrs["mean_iou"],
        "mean_dice": best.user_attrs["mean_dice"],
        "random_slicings": {"number": len(random), "mean": statistics.fmean(random), "sd": statistics.pstdev(random)},
        "candidates": len(trials),
        "failed": len(trials) - sum(trial.state == TrialState.COMPLETE for trial in trials),
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
        print(f"{result['candidates_per_minute']} candidates a minute in this process")
    if before and before["slicing"] != result["slicing"]:
        print(
            f"the slicing of a search with fitness {before['fitness']:.4f} before is replaced; its own storage still has it"
        )
    print(f"written: {file} and {PLOT_FILE} beside it; {SUPERNET.finds} takes the slicing from there")


def _dataset_name(dataset: str) -> str:
    try:
        return maybe_convert_to_dataset_name(int(dataset) if dataset.isdecimal() else dataset)
    except RuntimeError as error:
        raise ValueError(f"-d: got {dataset}, wanted the number or name of a data set in nnU-Net's folders") from error


def _device(asked: str) -> torch.device:
    if asked != "auto":
        return torch.device(asked)
    return torch.device("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")
