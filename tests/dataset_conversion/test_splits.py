"""Held-out cases and folds: no group is split, every case once, the same for the same seed."""

from pathlib import Path

import pytest

from nnunet_mamba.dataset_conversion.dataset import Case, PaperProtocol
from nnunet_mamba.dataset_conversion.pipeline.splits import hold_out, make_folds


def make_cases(num_groups: int, per_group: int = 1) -> list[Case]:
    return [
        Case(f"g{group}_{i}", f"g{group}", Path("image"), Path("mask"))
        for group in range(num_groups)
        for i in range(per_group)
    ]


@pytest.mark.parametrize("per_group", [1, 3])
@pytest.mark.parametrize(
    "num_groups, test, held_out", [(160, 16, None), (23, 0, None), (160, 0, 30), (31, 4, 10), (5, 0, None)]
)
def test_folds_partition_without_leak(num_groups, per_group, test, held_out):
    cases = make_cases(num_groups, per_group)
    group_of = {case.id: case.group for case in cases}
    rest, tested = hold_out(cases, test, seed=1)
    folds = make_folds(rest, seed=1, held_out=held_out)
    assert len(folds) == 5
    assert sorted(id for fold in folds for id in fold["val"]) == sorted(case.id for case in rest)
    assert {case.group for case in rest}.isdisjoint(case.group for case in tested)
    assert test <= len(tested) < test + per_group
    for fold in folds:
        assert fold["train"] and fold["val"]
        assert sorted(fold["train"] + fold["val"]) == sorted(case.id for case in rest)
        assert {group_of[id] for id in fold["train"]}.isdisjoint(group_of[id] for id in fold["val"])
    if held_out:
        assert held_out <= len(folds[0]["val"]) < held_out + per_group


@pytest.mark.parametrize("num_groups, num_folds", [(2, 2), (4, 4), (5, 5), (6, 5)])
def test_as_many_folds_as_groups_up_to_five(num_groups, num_folds):
    assert len(make_folds(make_cases(num_groups), seed=0)) == num_folds


@pytest.mark.parametrize("sizes", [(40, 20, 5), (7, 7), (3, 1, 1), (30, 1)])
@pytest.mark.parametrize("test, held_out", [(0, None), (4, None), (0, 3)])
def test_strata_are_spread_evenly(sizes, test, held_out):
    if sum(sizes) < 10 and (test or held_out):
        pytest.skip("too few cases to hold any out")
    cases = [
        Case(f"{stratum}_{i}", f"{stratum}_{i}", Path("image"), Path("mask"), stratum=str(stratum))
        for stratum, size in enumerate(sizes)
        for i in range(size)
    ]
    stratum_of = {case.id: case.stratum for case in cases}
    rest, tested = hold_out(cases, test, seed=2)
    folds = [fold["val"] for fold in make_folds(rest, seed=2, held_out=held_out)]
    for stratum, size in enumerate(sizes):
        assert abs(sum(case.stratum == str(stratum) for case in tested) - test * size / len(cases)) <= 1
        counts = [sum(stratum_of[id] == str(stratum) for id in fold) for fold in (folds[1:] if held_out else folds)]
        assert max(counts) - min(counts) <= 1
    counts = [len(fold) for fold in (folds[1:] if held_out else folds)]
    assert max(counts) - min(counts) <= 1


def test_named_groups_are_held_out_in_fold_0():
    folds = make_folds(make_cases(9, 2), seed=0, held_out_groups=("g3", "g5"))
    assert folds[0]["val"] == ["g3_0", "g3_1", "g5_0", "g5_1"]
    assert [len(fold["val"]) for fold in folds[1:]] == [4, 4, 4, 2]
    with pytest.raises(ValueError, match="every group is held out"):
        make_folds(make_cases(2), seed=0, held_out_groups=("g0", "g1"))


def test_only_the_seed_decides():
    cases = make_cases(40)
    assert make_folds(cases, seed=5) == make_folds(cases[::-1], seed=5)
    assert make_folds(cases, seed=5) != make_folds(cases, seed=6)
    assert hold_out(cases, 8, seed=5) == hold_out(cases[::-1], 8, seed=5)
    assert hold_out(cases, 8, seed=5) != hold_out(cases, 8, seed=6)


def test_splits_are_the_same_everywhere():
    folds = make_folds(make_cases(6), seed=0)
    assert [fold["val"] for fold in folds] == [["g1_0", "g3_0"], ["g0_0"], ["g4_0"], ["g2_0"], ["g5_0"]]


@pytest.mark.parametrize("num_cases, held_out", [(200, 30), (160, 30), (60, 30), (59, 9), (40, 6), (6, 1), (2, 1)])
def test_paper_hold_out(num_cases, held_out):
    assert PaperProtocol(size=(192, 256), held_out=30, published=200).held_out_of(num_cases) == held_out
