"""Statistics over cases: mean, spread, intervals, and tests of paired differences."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 5000
CONFIDENCE = 0.95
SEED = 0


class Summary(NamedTuple):
    """Of so many `cases`: mean, sample standard deviation, and the bootstrap interval of the mean. NaN: not defined."""

    cases: int
    mean: float
    sd: float
    low: float
    high: float


class Paired(NamedTuple):
    """A comparison with the first trainer.

    Attributes:
        pairs: cases that both have a value for.
        p: of Wilcoxon's signed-rank test, two-sided; cases without difference are left out of it.
        corrected: p after Holm's correction over all comparisons of the class.
        effect: matched-pairs rank-biserial correlation, from -1 (worse in every case) to 1 (better in every case).
    """

    pairs: int
    p: float
    corrected: float
    effect: float


def summarise(values: Sequence[float]) -> Summary:
    """The summary of `values`; NaN among them are left out.

    The interval is the bootstrap's percentile interval: 2.5 and 97.5 % of the means of resamples of the cases.
    """
    from scipy.stats import bootstrap

    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    nan = math.nan
    if len(known) == 0:
        return Summary(0, nan, nan, nan, nan)
    mean = float(known.mean())
    if len(known) == 1:
        return Summary(1, mean, nan, nan, nan)
    interval = bootstrap(
        (known,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, 2**22 // len(known)),
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return Summary(len(known), mean, float(known.std(ddof=1)), float(interval.low), float(interval.high))


def compare(first: Mapping[str, float], other: Mapping[str, float], more_is_better: bool) -> Paired:
    """How `other` differs from `first`, both {case: value}; `corrected` is still p."""
    from scipy.stats import wilcoxon

    pairs = [(first[case], other[case]) for case in first if case in other]
    differences = np.array([b - a for a, b in pairs if math.isfinite(a) and math.isfinite(b)])
    count, changed = len(differences), differences[differences != 0]
    if not count:
        return Paired(0, math.nan, math.nan, math.nan)
    if not len(changed):
        return Paired(count, 1.0, 1.0, 0.0)
    p = float(wilcoxon(changed).pvalue)
    return Paired(count, p, p, rank_biserial(changed if more_is_better else -changed))


def rank_biserial(differences: np.ndarray) -> float:
    """(W+ - W-) / (W+ + W-), the sums of the ranks of positive and negative differences; none may be 0."""
    from scipy.stats import rankdata

    ranks = rankdata(np.abs(differences))
    return float(ranks @ np.sign(differences) / ranks.sum())


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction of all `ps` together; NaN stay NaN and do not count."""
    corrected = [math.nan] * len(ps)
    known = sorted((p, i) for i, p in enumerate(ps) if not math.isnan(p))
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        corrected[i] = highest
    return corrected
