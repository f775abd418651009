"""nnU-Net's own integration scenarios with our trainers: labels, overlapping regions, an ignore label, and both.

The course of its integration test in the 2d configuration: plan, preprocess, five folds of two trainers, find the best
configuration, predict with both, ensemble, postprocess, evaluate. Every other trainer is trained and validated for one
fold.
"""

import json
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.nnunet_home import TRAINERS, read_volume, short
from helpers.nnunet_scenarios import CASES, DATASET

FOLDS = range(5)
PAIRS = {
    "labels": ("DAMambaTrainer", "DermoMambaTrainer"),
    "regions": ("SliceMambaTrainer", "nnUNetTrainerGuideFusion"),
    "ignore": ("nnUNetTrainerASFM", "nnUNetTrainerGuideFusion"),
    "regions and ignore": ("SliceMambaTrainer", "nnUNetTrainerASFM"),
}
HEADS = {"labels": 3, "regions": 2, "ignore": 3, "regions and ignore": 2}


def sampled(*often):
    """All scenarios; the others are exhaustive."""
    others = [scenario for scenario in PAIRS if scenario not in often]
    return [*often, *(pytest.param(scenario, marks=pytest.mark.exhaustive) for scenario in others)]


@pytest.fixture(scope="module", params=sampled("regions and ignore"))
def course(request, scenarios, tmp_path_factory):
    """The folders that the whole course of a scenario leaves behind."""
    scenario, pair = request.param, PAIRS[request.param]
    name, out = DATASET[scenario], tmp_path_factory.mktemp("course")
    images, truth = (scenarios.raw / name / folder for folder in ("imagesTr", "labelsTr"))
    for trainer in pair:
        for fold in FOLDS:
            scenarios.trained(scenario, trainer, fold)
    scenarios.command("nnUNetv2_find_best_configuration", name, "-c", "2d", "-tr", *map(short, pair), "-np", 1)
    information = json.loads((scenarios.results / name / "inference_information.json").read_text())
    best = information["best_model_or_ensemble"]
    options = "--save_probabilities", "--disable_tta"
    members = [scenarios.predict(scenario, trainer, images, out / trainer, *options, folds=(0, 3)) for trainer in pair]
    scenarios.command("nnUNetv2_ensemble", "-i", *members, "-o", out / "ensemble", "-np", 1)
    scenarios.command(
        "nnUNetv2_apply_postprocessing", "-i", out / "ensemble", "-o", out / "postprocessed", "-np", 1,
        "-pp_pkl_file", best["postprocessing_file"], "-plans_json", best["some_plans_file"],
    )  # fmt: skip
    scenarios.command(
        "nnUNetv2_evaluate_folder", truth, out / "postprocessed", "-djfile", members[0] / "dataset.json",
        "-pfile", members[0] / "plans.json", "-np", 1,
    )  # fmt: skip
    return SimpleNamespace(
        scenario=scenario, pair=pair, out=out, members=members, truth=truth, information=information, name=name
    )


def segment(scenario, probabilities):
    """Labels of (heads, Z, Y, X) probabilities, as nnU-Net defines them."""
    if "regions" not in scenario:
        return probabilities.argmax(0)
    body, core = probabilities > 0.5
    return np.where(core, 2, np.where(body, 1, 0))


def cases(folder):
    files = sorted(folder.glob("*.nii.gz"))
    assert len(files) == CASES
    return files


def test_best_configuration_is_found_among_both_and_their_ensemble(course, scenarios):
    found = course.information
    assert len(found["all_results"]) == 3
    assert all(0 <= dice <= 1 for dice in found["all_results"].values())
    best = found["best_model_or_ensemble"]
    assert best["result_on_crossval_pre_pp"] == max(found["all_results"].values())
    assert {model["trainer"] for model in best["selected_model_or_models"]} <= set(map(short, course.pair))
    for trainer in course.pair:
        merged = scenarios.fold(course.name, short(trainer)).parent / "crossval_results_folds_0_1_2_3_4"
        cases(merged)  # each case was validated in exactly one fold


def test_members_and_ensemble_are_what_their_probabilities_say(course):
    for file in cases(course.out / "ensemble"):
        name = file.name.replace(".nii.gz", ".npz")
        each = [np.load(member / name)["probabilities"] for member in course.members]
        for member, probabilities in zip(course.members, each, strict=True):
            assert probabilities.shape[0] == HEADS[course.scenario]
            np.testing.assert_array_equal(read_volume(member / file.name), segment(course.scenario, probabilities))
        np.testing.assert_array_equal(read_volume(file), segment(course.scenario, (each[0] + each[1]) / 2))


def test_postprocessing_removes_components_only(course):
    best = course.information["best_model_or_ensemble"]
    functions, _ = pickle.loads(Path(best["postprocessing_file"]).read_bytes())
    for file in cases(course.out / "postprocessed"):
        after, before = read_volume(file), read_volume(course.out / "ensemble" / file.name)
        changed = after != before
        assert not after[changed].any() and bool(functions) >= changed.any()


def test_evaluation_counts_what_is_labelled(course):
    """Dice of nnUNetv2_evaluate_folder equals ours, without the pixels to ignore."""
    summary = json.loads((course.out / "postprocessed" / "summary.json").read_text())
    regions = {"body": (1, 2) if "regions" in course.scenario else (1,), "core": (2,)}
    keys = {"body": "(1, 2)" if "regions" in course.scenario else "1", "core": "2"}
    for name, region in regions.items():
        dice = []
        for file in cases(course.truth):
            truth, predicted = read_volume(file), read_volume(course.out / "postprocessed" / file.name)
            assert predicted.max() < 3
            known = truth != 3
            assert known.all() == ("ignore" not in course.scenario)
            truth, predicted = (np.isin(labels[known], region) for labels in (truth, predicted))
            dice.append(2 * (truth & predicted).sum() / (truth.sum() + predicted.sum()))
        assert summary["mean"][keys[name]]["Dice"] == pytest.approx(np.mean(dice), abs=1e-6)


@pytest.mark.parametrize("scenario", sampled("labels", "regions and ignore"))
@pytest.mark.parametrize("trainer", TRAINERS)
def test_each_trainer_in_each_scenario(scenarios, scenario, trainer):
    """One fold: finite losses, a head for each class or region, a validation of each case of the fold."""
    folder = scenarios.trained(scenario, trainer)
    checkpoint = torch.load(folder / "checkpoint_final.pth", weights_only=False)
    logged = checkpoint["logging"]
    assert checkpoint["trainer_name"] == short(trainer)
    assert np.isfinite([logged["train_losses"], logged["val_losses"], logged["mean_fg_dice"]]).all()
    heads = [tensor for name, tensor in checkpoint["network_weights"].items() if "seg_layers" in name]
    assert heads and {len(tensor) for tensor in heads} == {HEADS[scenario]}
    summary = json.loads((folder / "validation" / "summary.json").read_text())
    assert len(summary["metric_per_case"]) == 2
