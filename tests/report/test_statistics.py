"""Each statistic against a value worked out by hand."""

import math
from itertools import product

import numpy as np
import pytest

from nnunet_mamba.report.statistics import compare, holm, rank_biserial, summarise


def test_mean_and_standard_deviation():
    """Of 1, 2, 4: mean 7/3, squares of differences 16/9 + 1/9 + 25/9 = 42/9, over n - 1 = 2: 21/9."""
    summary = summarise([1, math.nan, 2, 4])
    assert summary[:3] == pytest.approx((3, 7 / 3, math.sqrt(21 / 9)))


def test_the_bootstrap_interval_is_that_of_all_resamples():
    """Of four cases there are 4^4 = 256 resamples: their means' 2.5 and 97.5 % are the interval."""
    values = [0.0, 1.0, 10.0, 100.0]
    means = sorted(np.mean(resample) for resample in product(values, repeat=4))
    expected = np.quantile(means, [0.025, 0.975])
    summary = summarise(values)
    assert (summary.low, summary.high) == pytest.approx(expected, abs=2.5)
    assert summarise(values) == summary  # the same at every run


def test_two_cases():
    """Means 0 (one in four), 1/2 and 1: the interval is all of it."""
    assert summarise([0, 1])[3:] == (0, 1)


@pytest.mark.parametrize(("values", "expected"), [([], (0,) + (math.nan,) * 4), ([3], (1, 3.0) + (math.nan,) * 3)])
def test_too_few_for_an_interval(values, expected):
    assert summarise(values) == pytest.approx(expected, nan_ok=True)


# differences 1, 2, 3, 4, 5: W- = 0, p = 2 / 2^5. With -1 instead of 1: W- = 1, p = 2 * 2 / 2^5
@pytest.mark.parametrize(
    ("differences", "p", "effect"),
    [
        ((1, 2, 3, 4, 5), 2 / 32, 1),
        ((-1, 2, 3, 4, 5), 4 / 32, 13 / 15),
        ((0, 0, 0), 1, 0),
        ((0, 1, 2, 3, 4, 5), 2 / 32, 1),
    ],
)
@pytest.mark.parametrize("more_is_better", [True, False])
def test_wilcoxon_and_effect(differences, p, effect, more_is_better):
    first = {f"case{i}": 10.0 for i in range(len(differences))} | {"only here": 3.0, "no value": math.nan}
    other = {f"case{i}": 10.0 + d for i, d in enumerate(differences)} | {"only there": 3.0, "no value": 1.0}
    paired = compare(first, other, more_is_better)
    assert paired.pairs == len(differences) and paired.p == pytest.approx(p)
    assert paired.effect == pytest.approx(effect if more_is_better else -effect)


def test_no_pairs():
    assert compare({"a": 1.0}, {"b": 1.0}, True) == pytest.approx((0, math.nan, math.nan, math.nan), nan_ok=True)


def test_rank_biserial_with_ties():
    """|d| 1, 1, 3 have ranks 1.5, 1.5, 3: (1.5 + 3 - 1.5) / 6."""
    assert rank_biserial(np.array([1.0, -1.0, 3.0])) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("ps", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 x 0.01, 2 x 0.03, and 1 x 0.04 raised to the one before
        ([0.04, math.nan, 0.01], [0.04, math.nan, 0.02]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([], []),
    ],
)
def test_holm(ps, expected):
    assert holm(ps) == pytest.approx(expected, nan_ok=True)
