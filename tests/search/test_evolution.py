"""The evolution: what each generation consists of, that it improves, and that it may be interrupted and shared."""

import multiprocessing
from collections import Counter
from threading import Thread
from time import sleep

import optuna
import pytest

from nnunet_mamba.search.evolution import Evolution, EvolutionSampler, candidate_of, was_drawn_before
from nnunet_mamba.search.study import finished, open_storage, open_study

BLOCKS, CHOICES = 22, 4
SMALL = Evolution(population=20, generations=6, parents=4, mutants=10, crossovers=8)
optuna.logging.set_verbosity(optuna.logging.ERROR)


def objective(trial):
    """Best if every block has the last choice."""
    return sum(trial.suggest_categorical(f"block{i:02}", range(CHOICES)) for i in range(BLOCKS)) / (
        BLOCKS * (CHOICES - 1)
    )


def search(evolution, trials, storage=None, seed=0, blocks=BLOCKS):
    study = optuna.create_study(storage=storage, study_name="test", direction="maximize", load_if_exists=True)
    study.sampler = EvolutionSampler(evolution, blocks, CHOICES, seed)
    study.optimize(objective, n_trials=trials)
    return study


def candidates(study):
    return [candidate_of(trial) for trial in study.get_trials()]


@pytest.fixture(scope="module")
def whole():
    return search(SMALL, SMALL.candidates)


def test_no_candidate_is_evaluated_twice(whole):
    assert set(Counter(candidates(whole)).values()) == {1} and len(candidates(whole)) == SMALL.candidates


def test_a_generation_comes_from_the_best_before_it(whole):
    """Ten mutants and eight crossovers of the four best; the two others are random."""
    trials = whole.get_trials()
    for generation in range(1, SMALL.generations):
        first = generation * SMALL.population
        best = sorted(trials[:first], key=lambda trial: (-trial.value, trial.number))[: SMALL.parents]
        parents = [candidate_of(trial) for trial in best]
        bred = [
            candidate
            for candidate in candidates(whole)[first : first + SMALL.population]
            if is_bred(candidate, parents)
        ]
        assert 18 <= len(bred) <= 20


def is_bred(candidate, parents):
    """Mutants change about a tenth of a parent's blocks; crossovers take each block from one of two parents."""
    if min(sum(a != b for a, b in zip(candidate, parent)) for parent in parents) <= 8:
        return True
    return any(
        all(gene in pair for gene, pair in zip(candidate, zip(one, other))) for one in parents for other in parents
    )


def test_random_candidates_do_not_look_bred():
    random = candidates(search(Evolution(population=60, generations=1, parents=1), 60))
    assert sum(is_bred(candidate, random[:4]) for candidate in random[4:]) <= 2


def test_fitness_rises(whole):
    values = [trial.value for trial in whole.get_trials()]
    assert sum(values[-20:]) / 20 > sum(values[:20]) / 20 + 0.15
    assert max(values) > max(values[:20]) + 0.1


def test_neighbours_in_a_generation_share_their_beginning(whole):
    for generation in range(SMALL.generations):
        first = generation * SMALL.population
        assert candidates(whole)[first : first + SMALL.population] == sorted(
            candidates(whole)[first : first + SMALL.population]
        )


def test_an_interrupted_search_draws_the_same_candidates(tmp_path):
    """Within the random generation, and within two later ones."""
    evolution = Evolution(population=8, generations=4, parents=3, mutants=4, crossovers=3)
    storage = f"sqlite:///{tmp_path / 'search.db'}"
    for trials in (5, 8, 11, evolution.candidates - 24):
        study = search(evolution, trials, storage)
    assert candidates(study) == candidates(search(evolution, evolution.candidates))


def test_seeds_differ(whole):
    assert candidates(search(SMALL, 5, seed=1)) != candidates(whole)[:5]


@pytest.mark.parametrize("mutants, crossovers", [(20, 0), (0, 20), (0, 0)])
def test_generations_are_filled_up(mutants, crossovers):
    """Three blocks have 64 candidates: parents soon have no new children, and random candidates fill the generation."""
    evolution = Evolution(population=20, generations=3, parents=1, mutants=mutants, crossovers=crossovers)
    study = optuna.create_study(direction="maximize", sampler=EvolutionSampler(evolution, 3, CHOICES))
    study.optimize(
        lambda trial: sum(trial.suggest_categorical(f"block{i:02}", range(CHOICES)) for i in range(3)), n_trials=60
    )
    assert len(set(candidates(study))) == 60


def test_the_end_of_all_candidates_is_reported():
    study = optuna.create_study(direction="maximize", sampler=EvolutionSampler(Evolution(population=50), 1, CHOICES))
    with pytest.raises(RuntimeError, match="all 4 candidates have been evaluated"):
        study.optimize(lambda trial: trial.suggest_categorical("block00", range(CHOICES)), n_trials=5)


def test_dead_and_failed_trials(tmp_path):
    """A candidate whose process died may be drawn again; one that failed is not."""
    study = optuna.create_study(direction="maximize", sampler=EvolutionSampler(SMALL, BLOCKS, CHOICES))
    study.optimize(objective, n_trials=3)
    died, failed = study.ask(), study.ask()
    objective(died), objective(failed)
    study.tell(died, state=optuna.trial.TrialState.FAIL)
    failed.set_user_attr("error", "out of memory")
    study.tell(failed, state=optuna.trial.TrialState.FAIL)
    assert len(finished(study)) == 4
    study.optimize(objective, n_trials=17)
    there = Counter(candidates(study))
    assert there[tuple(failed.params.values())] == 1 and len(candidates(study)) == 22


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"population": 0}, "population: got 0, wanted 1 or more"),
        ({"generations": 0}, "generations: got 0"),
        ({"mutants": 30}, "mutants and crossovers: got 30 and 25, .* together at most the population, 50"),
        ({"mutation_rate": 1.5}, "mutation_rate: got 1.5, wanted 0 to 1"),
    ],
)
def test_impossible_evolutions_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        Evolution(**changed)


def work(storage, trials):
    study = open_study(open_storage(storage), "test", {})
    study.sampler = EvolutionSampler(SMALL, BLOCKS, CHOICES)
    study.optimize(objective, n_trials=trials)


@pytest.mark.parametrize("storage", ["sqlite:///{}/search.db", "{}/search.log"], ids=["sqlite", "journal"])
def test_processes_share_a_storage(storage, tmp_path):
    storage = storage.format(tmp_path)
    work(storage, 1)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(storage, 15)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    study = open_study(open_storage(storage), "test", {})
    assert [trial.number for trial in finished(study)] == list(range(31))
    assert (
        len(set(candidates(study))) >= 29
    )  # two processes may draw the same candidate at the same moment; a search then drops one


def test_two_that_drew_the_same_at_the_same_moment():
    """The later one waits until the earlier one has stored all its blocks, but not forever."""
    study = optuna.create_study(direction="maximize", sampler=EvolutionSampler(SMALL, BLOCKS, CHOICES))
    silent, earlier, later = study.ask(), study.ask(), study.ask()
    same = {f"block{i:02}": 1 for i in range(BLOCKS)}
    for trial in (earlier, later):
        trial.relative_params.update(same)
    choose(later, BLOCKS)
    choose(earlier, BLOCKS - 1)
    dead = {silent.number}
    waiting = Thread(target=lambda: (sleep(0.3), choose(earlier, BLOCKS)))
    waiting.start()
    assert was_drawn_before(study, later, dead)
    assert len(earlier.params) == BLOCKS
    assert not was_drawn_before(study, earlier, dead)
    dead.clear()
    assert not was_drawn_before(study, earlier, dead, patience=0.1) and dead == {silent.number}


def choose(trial, blocks):
    for i in range(blocks):
        trial.suggest_categorical(f"block{i:02}", range(CHOICES))


@pytest.mark.parametrize(
    ("storage", "reason"),
    [
        ("sqlite:////no/such/folder/search.db", "unable to open database file"),
        ("nonsense://host/database", "nonsense"),
        ("search.txt", "neither a URL nor a file name that ends in .log"),
        ("/no/such/folder/search.log", "No such file"),
        ("postgresql://user@localhost:1/database", ""),
    ],
    ids=str,
)
def test_a_storage_that_cannot_be_opened_is_named(storage, reason):
    with pytest.raises(ValueError, match=f"storage: '{storage}' cannot be opened .*{reason}.* Wanted a URL such as"):
        open_storage(storage)


def test_a_password_is_not_shown():
    with pytest.raises(
        ValueError, match=r"storage: 'postgresql://me:\*\*\*@localhost:1/database' cannot be opened"
    ) as raised:
        open_storage("postgresql://me:secret@localhost:1/database")
    assert "secret" not in str(raised.value)


def test_a_missing_driver_is_named():
    with pytest.raises(ValueError, match=r"cannot be opened \(No module named '(cx_Oracle|oracledb)'\)"):
        open_storage("oracle://me@localhost/database")


def test_a_search_started_with_other_settings_is_refused(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path / 'search.db'}")
    open_study(storage, "test", {"supernet": "abc", "population": 50})
    open_study(storage, "test", {"supernet": "abc", "population": 50})
    with pytest.raises(
        ValueError, match="started with other settings .supernet was 'abc' and is now 'def'.. Use the same"
    ):
        open_study(storage, "test", {"supernet": "def", "population": 50})
