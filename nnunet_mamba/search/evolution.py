"""The paper's evolution as an Optuna sampler: parents, mutants and crossovers, no candidate twice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic, sleep

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

Path = tuple[int, ...]  # a choice for each block
SECONDS_TO_DRAW = 10.0  # a process that has not stored its candidate by then has died
TRIES = 10  # draws for each new mutant or crossover, as published; random candidates take the place of what they do not find


@dataclass(frozen=True)
class Evolution:
    """How candidates come about, by default as in the paper (Fan et al., IEEE JBHI 2025).

    The first generation is random. Each later one has `mutants` and `crossovers` of the best `parents` so far, filled up with
    random candidates to `population`.

    Raises:
        ValueError: sizes that are not positive or do not fit the population, or a rate outside of 0 to 1.
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
                f"mutants and crossovers: got {self.mutants} and {self.crossovers}, wanted 0 or more each and at most the "
                f"population, {self.population}, in sum"
            )
        if not 0 <= self.mutation_rate <= 1:
            raise ValueError(f"mutation_rate: got {self.mutation_rate}, wanted 0 to 1")

    @property
    def candidates(self) -> int:
        return self.population * self.generations


class EvolutionSampler(BaseSampler):
    """Deals each trial its candidate.

    Trial number n is of generation n // population. A generation is drawn from the trials before it alone, with a seed of its
    own, so it is the same in whichever process and after whatever interruption (where processes share a study, those that run
    ahead draw it from what has been evaluated by then). It is dealt in sorted order: candidates that share their first blocks
    follow each other, and share the computation.

    Args:
        blocks, choices: how many blocks there are, and how many choices for each.
        seed: of everything drawn.
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
            raise RuntimeError(f"every one of {self.choices**self.blocks} candidates has been evaluated")
        start = trial.number - first
        free = (candidate for candidate in drawn[start:] + drawn[:start] if candidate not in taken)
        random = self._random(np.random.default_rng([self.seed, 1, trial.number]))
        candidate = next(free, None) or _unless(random, taken)
        return dict(zip(search_space, candidate, strict=True))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> int:
        raise ValueError(f"{param_name}: a parameter that the search does not know; give the study to nothing else")

    def _generation(self, generation: int, before: Sequence[FrozenTrial]) -> list[Path]:
        """The candidates of a generation, sorted, drawn from the trials `before` it."""
        random = np.random.default_rng([self.seed, 0, generation])
        evaluated = sorted((trial for trial in before if trial.state == TrialState.COMPLETE), key=_worse_later)
        parents = [candidate_of(trial) for trial in evaluated[: self.evolution.parents]]
        taken = {candidate_of(trial) for trial in before if is_taken(trial)}
        drawn: list[Path] = []
        if parents:
            drawn += _take(self.evolution.mutants, self._mutants(parents, random), taken)
            drawn += _take(self.evolution.crossovers, self._crossovers(parents, random), taken)
        while len(drawn) < self.evolution.population and len(taken) < self.choices**self.blocks:
            drawn.append(_unless(self._random(random), taken))
            taken.add(drawn[-1])
        return sorted(drawn)

    def _random(self, random: np.random.Generator) -> Iterator[Path]:
        while True:
            yield tuple(random.integers(self.choices, size=self.blocks).tolist())

    def _mutants(self, parents: Sequence[Path], random: np.random.Generator) -> Iterator[Path]:
        for candidate in self._random(random):
            parent = parents[random.integers(len(parents))]
            changes = random.random(self.blocks) < self.evolution.mutation_rate
            yield tuple(new if change else old for new, old, change in zip(candidate, parent, changes, strict=True))

    def _crossovers(self, parents: Sequence[Path], random: np.random.Generator) -> Iterator[Path]:
        while True:
            one, other = (parents[i] for i in random.integers(len(parents), size=2))
            sides = random.random(self.blocks) < 0.5
            yield tuple(a if side else b for a, b, side in zip(one, other, sides, strict=True))


def candidate_of(trial: FrozenTrial) -> Path:
    """The choices of a trial in the order of the blocks; empty before they are drawn."""
    return tuple(trial.params[name] for name in sorted(trial.params))


def is_taken(trial: FrozenTrial) -> bool:
    """Whether a trial's candidate was or is being evaluated; not so one whose process died."""
    return trial.state in (TrialState.COMPLETE, TrialState.RUNNING) or "error" in trial.user_attrs


def was_drawn_before(
    study: Study, trial: FrozenTrial | Trial, dead: set[int], patience: float = SECONDS_TO_DRAW
) -> bool:
    """Whether a trial begun before `trial` has its candidate: of two processes that drew at the same moment, one goes on.

    Args:
        dead: numbers of trials not to be waited for; those that stored no candidate for `patience` seconds are added.
    """
    deadline = monotonic() + patience
    while True:
        earlier = [
            other for other in study.get_trials(deepcopy=False) if other.number < trial.number and is_taken(other)
        ]
        if any(other.params == trial.params for other in earlier):
            return True
        # a trial is there first and gets its choices block by block
        drawing = {other.number for other in earlier if len(other.params) < len(trial.params)} - dead
        if not drawing:
            return False
        if monotonic() > deadline:
            dead |= drawing
        sleep(0.02)


def _worse_later(trial: FrozenTrial) -> tuple[float, int]:
    return -trial.value, trial.number


def _take(number: int, candidates: Iterator[Path], taken: set[Path]) -> list[Path]:
    """The first `number` that are not in `taken`, to which they are added, or fewer after ten times as many draws."""
    found = []
    for _, candidate in zip(range(TRIES * number), candidates):
        if len(found) == number:
            break
        if candidate not in taken:
            taken.add(candidate)
            found.append(candidate)
    return found


def _unless(candidates: Iterator[Path], taken: set[Path]) -> Path:
    return next(candidate for candidate in candidates if candidate not in taken)
