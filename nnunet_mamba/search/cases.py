"""Which cases the search judges candidates by: cases that neither the supernet trains on nor the fold is validated on."""

import random
from collections.abc import Mapping, Sequence

SEARCH_CASES_FILE = "search_cases.json"
SHARE = 0.2  # of the training cases, where there is no other fold to take them from


def search_cases(splits: Sequence[Mapping[str, Sequence[str]]], fold: int | str, training: Sequence[str]) -> list[str]:
    """The part of a fold's `training` cases that is kept for the search, sorted.

    It is what the next fold validates on, so that cases that folds keep together (a patient's, a video's) stay together; where
    there is no next fold or it shares nothing with `training`, a fifth of `training`, drawn always the same.

    Args:
        splits: the folds of splits_final.json, empty for a training on all cases.
        fold: the fold that is trained.
    Raises:
        ValueError: fewer than two training cases.
    """
    if len(training) < 2:
        raise ValueError(
            f"search cases: got {len(training)} training cases in fold {fold}, wanted at least 2: "
            "one to train the supernet and one to judge candidates by. Use a fold with more training cases"
        )
    if isinstance(fold, int) and fold < len(splits):
        following = splits[(fold + 1) % len(splits)]["val"]
        kept = sorted(set(following) & set(training))
        if 0 < len(kept) < len(training):
            return kept
    return sorted(random.Random(0).sample(sorted(training), max(1, round(SHARE * len(training)))))
