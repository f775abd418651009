"""Failed candidates are recorded and not tried again; a search ends if all fail or if its storage is lost."""

from types import SimpleNamespace

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import OperationalError

from nnunet_mamba.search import evolution
from nnunet_mamba.search.evolution import Evolution, EvolutionSampler, candidate_of
from nnunet_mamba.search.fitness import Fitness
from nnunet_mamba.search.run import _evaluate, _result
from nnunet_mamba.search.study import explain_lost_storage, finished, open_storage, open_study

EVOLUTION = Evolution(population=8, generations=3, parents=3, mutants=4, crossovers=3)
CHOICES, BLOCKS = ((2, 2), (2, 4), (4, 2)), 5


class FragileJudge:
    """Fails if the first block has a choice in `fails`; larger choices are better."""

    def __init__(self, fails):
        self.fails, self.asked = fails, []
        self.network = SimpleNamespace(
            choices=CHOICES, blocks=[None] * BLOCKS, slicing_of=lambda path: [CHOICES[choice] for choice in path]
        )

    def __call__(self, path):
        self.asked.append(tuple(path))
        if path[0] in self.fails:
            raise RuntimeError("out of memory")
        return Fitness(sum(path) / 20, sum(path) / 10)


@pytest.fixture
def study(tmp_path):
    study = open_study(open_storage(f"sqlite:///{tmp_path / 'search.db'}"), "test", {})
    study.sampler = EvolutionSampler(EVOLUTION, BLOCKS, len(CHOICES))
    return study


def test_a_candidate_that_fails_is_recorded_and_not_tried_again(study, capsys):
    judge = FragileJudge(fails=(1,))
    _evaluate(study, judge, EVOLUTION)
    assert len(judge.asked) == len(set(judge.asked)) == EVOLUTION.candidates
    trials = finished(study)
    failed = [trial for trial in trials if trial.state == optuna.trial.TrialState.FAIL]
    assert failed and all(trial.user_attrs["error"] == "RuntimeError: out of memory" for trial in failed)
    assert {candidate_of(trial)[0] for trial in failed} == {1}
    assert "failed and will not be tried again: RuntimeError: out of memory" in capsys.readouterr().out
    supernet = SimpleNamespace(network=judge.network, cases=["a"], digest="")
    result = _result(trials, supernet, EVOLUTION)
    assert result["failed"] == len(failed) and result["candidates"] == EVOLUTION.candidates
    best = max((path for path in judge.asked if path[0] != 1), key=sum)
    assert result["fitness"] == pytest.approx(sum(best) * 3 / 40)
    _evaluate(study, judge, EVOLUTION)
    assert len(judge.asked) == EVOLUTION.candidates  # the study was complete


def test_a_search_gives_up_if_all_candidates_fail(study):
    judge = FragileJudge(fails=(0, 1, 2))
    with pytest.raises(
        RuntimeError, match="the first 5 candidates all failed, the last with: RuntimeError: out of memory"
    ):
        _evaluate(study, judge, EVOLUTION)
    assert len(judge.asked) == 5


def test_a_process_that_died_while_drawing_is_waited_for_once(study, monkeypatch):
    """Its trial never gets a candidate. The clock of this test is the sum of all waiting."""
    waited = [0.0]
    monkeypatch.setattr(evolution, "monotonic", lambda: waited[0])
    monkeypatch.setattr(evolution, "sleep", lambda seconds: waited.append(waited.pop() + seconds))
    study.ask()
    judge = FragileJudge(fails=())
    _evaluate(study, judge, EVOLUTION)
    assert len(judge.asked) == len(set(judge.asked)) == EVOLUTION.candidates
    assert evolution.SECONDS_TO_DRAW <= waited[0] < 1.1 * evolution.SECONDS_TO_DRAW


def test_a_lost_storage_loses_no_candidate(study, monkeypatch):
    """A server stops or a disk is full: Optuna's clean-up fails too, and hides the reason."""
    judge, store, stored = FragileJudge(fails=()), RDBStorage.set_trial_state_values, []

    def fails_at_the_seventh(self, trial, *args, **more):
        if len(stored) == 6:
            raise StorageInternalError("in the commit") from OperationalError(
                "UPDATE trials", {}, Exception("disk is full")
            )
        stored.append(trial)
        return store(self, trial, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(RDBStorage, "set_trial_state_values", fails_at_the_seventh)
        with (
            pytest.raises(RuntimeError, match="storage: it was lost .*disk is full.* run the same command again"),
            explain_lost_storage(),
        ):
            _evaluate(study, judge, EVOLUTION)
    before = [(trial.number, trial.value) for trial in finished(study)]
    assert len(before) == 6
    with explain_lost_storage():
        _evaluate(study, judge, EVOLUTION)
    after = [(trial.number, trial.value) for trial in finished(study)]
    assert after[:6] == before and len(after) == EVOLUTION.candidates
