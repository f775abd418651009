"""Chooses the search cases: the supernet does not train on them, and they are not the fold's validation cases."""

import random
from collections.abc import Mapping, Sequence

SEARCH_CASES_FILE = "search_cases.json"
SHARE = 0.2  # of the training cases, if no other fold provides the search cases


def search_cases(splits: Sequence[Mapping[str, Sequence[str]]], fold: int | str, training: Sequence[str]) -> list[str]:
    """The part of a fold's `training` cases that is kept for the search, sorted.

    These are the next fold's validation cases, so that cases of one patient or video stay together. Without a next
    fold, or if it has no validation case in `training`, they are a fifth of `training`, drawn with a fixed seed.

    Args:
        splits: the folds of splits_final.json; empty for training on all cases.
        fold: the fold to train.
    Raises:
        ValueError: fewer than two training cases.
    """
    if len(training) < 2:
        raise ValueError(
            f"search cases: got {len(training)} training cases in fold {fold}, wanted at least 2: "
            "one to train the supernet and one to judge candidates. Use a fold with more training cases"
        )
    if isinstance(fold, int) and fold < len(splits):
        following = splits[(fold + 1) % len(splits)]["val"]
        kept = sorted(set(following) & set(training))
        if 0 < len(kept) < len(training):
            return kept
    return sorted(random.Random(0).sample(sorted(training), max(1, round(SHARE * len(training)))))
