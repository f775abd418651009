"""Held-out cases and folds that never part a group (a lesion, a patient, a video).

Groups are ordered by a hash of the seed and their name: the same on every machine and with every library version, and the
order of two groups of a stratum does not depend on which others are there. What is held out, and each fold, has of every stratum
its share, to within one group.
"""

import hashlib
from collections.abc import Collection, Sequence

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
    held, rest = _take(_interleaved(_groups(cases, seed)), count)
    if count and len(rest) < 2:
        raise ValueError(
            f"--test {count} leaves {_size(rest)} of {len(cases)} cases for training; at least two groups must remain"
        )
    return _sorted(rest), _sorted(held)


def make_folds(
    cases: Sequence[Case], seed: int, held_out: int | None = None, held_out_groups: Collection[str] = ()
) -> list[dict[str, list[str]]]:
    """Folds as nnU-Net reads them, [{"train": ids, "val": ids}, ...]: every case validates in exactly one.

    Five folds, fewer where there are not five groups. With `held_out`, that many cases validate in fold 0 and the others
    share the folds after it; with `held_out_groups` it is those groups.

    Raises:
        ValueError: fewer than two groups: nothing to validate on.
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


def _groups(cases: Sequence[Case], seed: int) -> list[list[Case]]:
    """Stratum by stratum: dealt out in turn, each stratum is spread evenly, and so is the whole."""
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    strata = {name: min(group, key=lambda case: case.id).stratum for name, group in groups.items()}
    order = sorted(groups, key=lambda name: (strata[name], hashlib.sha256(f"{seed}:{name}".encode()).digest()))
    return [groups[name] for name in order]


def _interleaved(groups: list[list[Case]]) -> list[list[Case]]:
    """The groups so that every beginning of the list holds each stratum by its share."""
    strata: dict[str, list[list[Case]]] = {}
    for group in groups:
        strata.setdefault(min(group, key=lambda case: case.id).stratum, []).append(group)
    placed = [
        ((rank + 0.5) / len(stratum), name, group)
        for name, stratum in strata.items()
        for rank, group in enumerate(stratum)
    ]
    return [group for _, _, group in sorted(placed, key=lambda place: place[:2])]


def _take(groups: list[list[Case]], count: int) -> tuple[list[list[Case]], list[list[Case]]]:
    taken = 0
    while taken < len(groups) and _size(groups[:taken]) < count:
        taken += 1
    return groups[:taken], groups[taken:]


def _size(groups: list[list[Case]]) -> int:
    return sum(len(group) for group in groups)


def _sorted(groups: list[list[Case]]) -> list[Case]:
    return sorted((case for group in groups for case in group), key=lambda case: case.id)
