"""Held-out cases and folds that never part a group (a lesion, a patient, a video).

Groups are ordered by a hash of the seed and their name: the same on every machine and with every library version, and the
order of two groups does not depend on which others are there.
"""

import hashlib
from collections.abc import Sequence

from nnunet_mamba.dataset_conversion.cases import Case

NUM_FOLDS = 5


def hold_out(cases: Sequence[Case], count: int, seed: int) -> tuple[list[Case], list[Case]]:
    """Split into (rest, held out); whole groups are held out until there are at least `count` cases, exactly `count` where
    every group is one case.

    Raises:
        ValueError: `count` is negative, or fewer than two groups would remain.
    """
    if count < 0:
        raise ValueError(f"--test must be 0 or more, got {count}")
    held, rest = _take(_groups(cases, seed), count)
    if count and len(rest) < 2:
        raise ValueError(
            f"--test {count} leaves {_size(rest)} of {len(cases)} cases for training; at least two groups must remain"
        )
    return _sorted(rest), _sorted(held)


def make_folds(cases: Sequence[Case], seed: int, held_out: int | None = None) -> list[dict[str, list[str]]]:
    """Folds as nnU-Net reads them, [{"train": ids, "val": ids}, ...]: every case validates in exactly one.

    Five folds, fewer where there are not five groups. With `held_out`, that many cases validate in fold 0 and the others
    share the folds after it.

    Raises:
        ValueError: fewer than two groups: nothing to validate on.
    """
    groups = _groups(cases, seed)
    if len(groups) < 2:
        raise ValueError(f"cross-validation needs at least two cases of different groups, got {len(groups)}")
    first, groups = _take(groups, held_out or 0)
    parts = [first] if first else []
    num_parts = min(NUM_FOLDS - len(parts), len(groups))
    parts += [groups[i::num_parts] for i in range(num_parts)]
    ids = [sorted(case.id for group in part for case in group) for part in parts]
    return [
        {"train": sorted(id for j, others in enumerate(ids) if j != i for id in others), "val": part}
        for i, part in enumerate(ids)
    ]


def _groups(cases: Sequence[Case], seed: int) -> list[list[Case]]:
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    order = sorted(groups, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    return [groups[name] for name in order]


def _take(groups: list[list[Case]], count: int) -> tuple[list[list[Case]], list[list[Case]]]:
    taken = 0
    while taken < len(groups) and _size(groups[:taken]) < count:
        taken += 1
    return groups[:taken], groups[taken:]


def _size(groups: list[list[Case]]) -> int:
    return sum(len(group) for group in groups)


def _sorted(groups: list[list[Case]]) -> list[Case]:
    return sorted((case for group in groups for case in group), key=lambda case: case.id)
