"""The paper's evolution as an Optuna sampler: parents, mutants and crossovers; no candidate is evaluated twice."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from time import monotonic, sleep

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

Path = tuple[int, ...]  # a choice per block
SECONDS_TO_DRAW = 10.0  # a process that has not stored its candidate by then is taken for dead
TRIES = 10  # draws per mutant or crossover, as published; random candidates fill the gaps


@dataclass(frozen=True)
class Evolution:
    """How candidates are bred; the defaults are the paper's (Fan et al., IEEE JBHI 2025).

    The first generation is random. Each later one has `mutants` and `crossovers` of the best `parents` so far, plus
    random candidates up to `population`.

    Raises:
        ValueError: a size is not positive or does not fit the population, or the rate is not in [0, 1].
    """

    population: int = 50
    generations: int = 20
    parents: int = 10
    mutants: int = 25
    crossovers: int = 25
    mutation_rate: float = 0.1

    def __post_init__(self):
        for name in ("population", "generations", "parents"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, wanted 1 or more")
        if min(self.mutants, self.crossovers) < 0 or self.mutants + self.crossovers > self.population:
            raise ValueError(
                f"mutants and crossovers: got {self.mutants} and {self.crossovers}, wanted 0 or more each, "
                f"together at most the population, {self.population}"
            )
        if not 0 <= self.mutation_rate <= 1:
            raise ValueError(f"mutation_rate: got {self.mutation_rate}, wanted 0 to 1")

    @property
    def candidates(self) -> int:
        return self.population * self.generations


class EvolutionSampler(BaseSampler):
    """Gives each trial its candidate.

    Trial n belongs to generation n // population. A generation depends only on the trials before it and on its own
    seed, so it is the same in every process and after an interruption. (If processes share a study, the first to reach
    a generation draws it from the trials evaluated by then.) Candidates are given out in sorted order, so that
    consecutive ones share their first blocks, which are then computed once.

    Args:
        blocks, choices: the number of blocks, and of choices per block.
        seed: seed of all random draws.
    """

    def __init__(self, evolution: Evolution, blocks: int, choices: int, seed: int = 0):
        self.evolution = evolution
        self.blocks = blocks
        self.choices = choices
        self.seed = seed

    @property
    def space(self) -> dict[str, BaseDistribution]:
        return {f"block{i:02}": CategoricalDistribution(range(self.choices)) for i in range(self.blocks)}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, int]:
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        generation = min(trial.number // self.evolution.population, self.evolution.generations - 1)
        first = generation * self.evolution.population
        drawn = self._generation(generation, [other for other in others if other.number < first])
        taken = {candidate_of(other) for other in others if is_taken(other)}
        if len(taken) >= self.choices**self.blocks:
            raise RuntimeError(f"all {self.choices**self.blocks} candidates have been evaluated")
        start = trial.number - first
        free = (candidate for candidate in drawn[start:] + drawn[:start] if candidate not in taken)
        random = self._random(np.random.default_rng([self.seed, 1, trial.number]))
        candidate = next(free, None) or _first_new(random, taken)
        return dict(zip(search_space, candidate, strict=True))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> int:
        raise ValueError(f"{param_name}: not a parameter of the search; use this study for the search only")

    def _generation(self, generation: int, before: Sequence[FrozenTrial]) -> list[Path]:
        """The sorted candidates of a generation, bred from the trials `before` it."""
        random = np.random.default_rng([self.seed, 0, generation])
        parents = [candidate_of(trial) for trial in best_first(before)[: self.evolution.parents]]
        taken = {candidate_of(trial) for trial in before if is_taken(trial)}
        drawn: list[Path] = []
        if parents:
            drawn += _take(self.evolution.mutants, self._mutants(parents, random), taken)
            drawn += _take(self.evolution.crossovers, self._crossovers(parents, random), taken)
        while len(drawn) < self.evolution.population and len(taken) < self.choices**self.blocks:
            drawn.append(_first_new(self._random(random), taken))
            taken.add(drawn[-1])
        return sorted(drawn)

    def _random(self, random: np.random.Generator) -> Iterator[Path]:
        while True:
            yield tuple(random.integers(self.choices, size=self.blocks).tolist())

    def _mutants(self, parents: Sequence[Path], random: np.random.Generator) -> Iterator[Path]:
        for candidate in self._random(random):
            parent = parents[int(random.integers(len(parents)))]
            changes = random.random(self.blocks) < self.evolution.mutation_rate
            yield tuple(new if change else old for new, old, change in zip(candidate, parent, changes, strict=True))

    def _crossovers(self, parents: Sequence[Path], random: np.random.Generator) -> Iterator[Path]:
        while True:
            one, other = (parents[i] for i in random.integers(len(parents), size=2).tolist())
            sides = random.random(self.blocks) < 0.5
            yield tuple(a if side else b for a, b, side in zip(one, other, sides, strict=True))


def candidate_of(trial: FrozenTrial) -> Path:
    """The choices of a trial, in the order of the blocks; empty before they are drawn."""
    return tuple(trial.params[name] for name in sorted(trial.params))


def value_of(trial: FrozenTrial) -> float:
    """The fitness of a trial that was evaluated."""
    assert trial.value is not None
    return trial.value


def best_first(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that were evaluated, by descending fitness; of equals, the earlier one first."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return sorted(complete, key=lambda trial: (-value_of(trial), trial.number))


def is_taken(trial: FrozenTrial) -> bool:
    """Whether a trial's candidate was evaluated or is being evaluated; False if its process died."""
    return trial.state in (TrialState.COMPLETE, TrialState.RUNNING) or "error" in trial.user_attrs


def was_drawn_before(
    study: Study, trial: FrozenTrial | Trial, dead: set[int], patience: float = SECONDS_TO_DRAW
) -> bool:
    """Whether an earlier trial has the same candidate as `trial`, because two processes drew at the same moment.

    Args:
        dead: numbers of trials not to wait for; trials that store no candidate within `patience` seconds are added.
    """
    deadline = monotonic() + patience
    while True:
        earlier = [
            other for other in study.get_trials(deepcopy=False) if other.number < trial.number and is_taken(other)
        ]
        if any(other.params == trial.params for other in earlier):
            return True
        # a trial exists before its choices, which are stored one by one
        drawing = {other.number for other in earlier if len(other.params) < len(trial.params)} - dead
        if not drawing:
            return False
        if monotonic() > deadline:
            dead |= drawing
        sleep(0.02)


def _take(number: int, candidates: Iterator[Path], taken: set[Path]) -> list[Path]:
    """Draws `number` candidates that are not in `taken` and adds them to it; stops after `TRIES` draws each."""
    found: list[Path] = []
    for candidate in islice(candidates, TRIES * number):
        if len(found) == number:
            break
        if candidate not in taken:
            taken.add(candidate)
            found.append(candidate)
    return found


def _first_new(candidates: Iterator[Path], taken: set[Path]) -> Path:
    return next(candidate for candidate in candidates if candidate not in taken)
