"""Held-out cases and folds that never split a group (a lesion, a patient, a video).

Groups are ordered by a hash of the seed and their name. So the order is the same on every machine and with every
library version, and the order of two groups of a stratum does not depend on which others there are. The held-out part
and each fold hold their share of every stratum, to within one group.
"""

import hashlib
from collections.abc import Collection, Sequence

from nnunet_mamba.dataset_conversion.dataset import Case

NUM_FOLDS = 5

Fold = dict[str, list[str]]
Groups = list[list[Case]]


def hold_out(cases: Sequence[Case], count: int, seed: int) -> tuple[list[Case], list[Case]]:
    """Split into (rest, held out). Whole groups are held out until there are at least `count` cases.

    Raises:
        ValueError: `count` is negative, or fewer than two groups would remain.
    """
    if count < 0:
        raise ValueError(f"--test must be 0 or more, got {count}")
    held, rest = _take(_interleaved(_groups(cases, seed)), count)
    if count and len(rest) < 2:
        raise ValueError(
            f"--test {count} leaves {_size(rest)} of {len(cases)} cases for training; at least two groups must remain"
        )
    return _sorted(rest), _sorted(held)


def make_folds(
    cases: Sequence[Case], seed: int, held_out: int | None = None, held_out_groups: Collection[str] = ()
) -> list[Fold]:
    """Folds as nnU-Net reads them, [{"train": ids, "val": ids}, ...]; every case validates in exactly one.

    There are five folds, or one per group if there are fewer groups. With `held_out`, that many cases validate in fold
    0 and the other cases share the other folds. With `held_out_groups`, these groups validate in fold 0.

    Raises:
        ValueError: fewer than two groups, so there is nothing to validate on.
    """
    groups = _groups(cases, seed)
    if len(groups) < 2:
        raise ValueError(f"cross-validation needs at least two cases of different groups, got {len(groups)}")
    if held_out_groups:
        first = [group for group in groups if group[0].group in held_out_groups]
    else:
        first, _ = _take(_interleaved(groups), held_out or 0)
    taken = {group[0].group for group in first}
    groups = [group for group in groups if group[0].group not in taken]
    if not groups:
        raise ValueError("every group is held out for fold 0: nothing to train on")
    parts = [first] if first else []
    num_parts = min(NUM_FOLDS - len(parts), len(groups))
    parts += [groups[i::num_parts] for i in range(num_parts)]
    ids = [sorted(case.id for group in part for case in group) for part in parts]
    return [
        {"train": sorted(id for j, others in enumerate(ids) if j != i for id in others), "val": part}
        for i, part in enumerate(ids)
    ]


def _groups(cases: Sequence[Case], seed: int) -> Groups:
    """One stratum after the other: dealt out in turn, each stratum is spread evenly, and so is the whole."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    strata = {name: _stratum(group) for name, group in groups.items()}
    order = sorted(groups, key=lambda name: (strata[name], hashlib.sha256(f"{seed}:{name}".encode()).digest()))
    return [groups[name] for name in order]


def _interleaved(groups: Groups) -> Groups:
    """The groups in an order whose every beginning holds its share of each stratum."""
    strata: dict[str, Groups] = {}
    for group in groups:
        strata.setdefault(_stratum(group), []).append(group)
    ranked = [
        ((rank + 0.5) / len(stratum), name, group)
        for name, stratum in strata.items()
        for rank, group in enumerate(stratum)
    ]
    return [group for _, _, group in sorted(ranked, key=lambda item: item[:2])]


def _stratum(group: Sequence[Case]) -> str:
    return min(group, key=lambda case: case.id).stratum


def _take(groups: Groups, count: int) -> tuple[Groups, Groups]:
    taken = 0
    while taken < len(groups) and _size(groups[:taken]) < count:
        taken += 1
    return groups[:taken], groups[taken:]


def _size(groups: Groups) -> int:
    return sum(len(group) for group in groups)


def _sorted(groups: Groups) -> list[Case]:
    return sorted((case for group in groups for case in group), key=lambda case: case.id)
