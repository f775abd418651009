"""Trained models as zips: installed in another results folder, they predict the same in another process."""

import numpy as np
import pytest

from helpers.nnunet_home import read_volume, short
from helpers.nnunet_scenarios import CASES, Scenarios
from nnunet_mamba import catalogue

OPTIONS = "--disable_tta", "--save_probabilities"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """nnU-Net where nothing was trained and no data set is."""
    with Scenarios(tmp_path_factory.mktemp("elsewhere")) as home:
        yield home


*OTHERS, LAST = (entry.trainer for entry in catalogue.NETWORKS if not entry.finds)


@pytest.mark.parametrize("trainer", [LAST, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in OTHERS)])
def test_prediction_after_export_and_import(scenarios, elsewhere, tmp_path, trainer):
    name, _ = scenarios.planned("labels"), scenarios.trained("labels", trainer)
    images, model = scenarios.raw / name / "imagesTr", tmp_path / "model.zip"
    here = scenarios.predict("labels", trainer, images, tmp_path / "here", *OPTIONS)
    scenarios.command(
        "nnUNetv2_export_model_to_zip", "-d", name, "-o", model, "-c", "2d", "-tr", short(trainer), "-f", 0
    )
    elsewhere.command("nnUNetv2_install_pretrained_model_from_zip", model)
    assert not elsewhere.preprocessed.exists()
    there = elsewhere.predict("labels", trainer, images, tmp_path / "there", *OPTIONS)
    cases = sorted(file.name.removesuffix(".nii.gz") for file in here.glob("case*.nii.gz"))
    assert len(cases) == CASES
    for case in cases:
        np.testing.assert_array_equal(*(read_volume(folder / f"{case}.nii.gz") for folder in (here, there)))
        np.testing.assert_array_equal(*(np.load(folder / f"{case}.npz")["probabilities"] for folder in (here, there)))
