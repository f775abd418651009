"""A trained model as a zip, taken to another results folder and predicted with there, in another process."""

import numpy as np
import pytest
from nnunet_home import read_volume, short
from nnunet_scenarios import CASES, Scenarios


@pytest.mark.parametrize("trainer", ["DermoMambaTrainer"])
def test_prediction_after_export_and_import(scenarios, tmp_path, trainer):
    name, fold = scenarios.planned("labels"), scenarios.trained("labels", trainer)
    images = scenarios.raw / name / "imagesTr"
    options = "--disable_tta", "--save_probabilities"
    scenarios.predict("labels", trainer, images, tmp_path / "here", *options)
    model = tmp_path / "model.zip"
    scenarios.command("nnUNetv2_export_model_to_zip", "-d", name, "-o", model, "-c", "2d", "-tr", short(trainer), "-f", 0)
    with Scenarios(tmp_path / "elsewhere") as elsewhere:
        elsewhere.command("nnUNetv2_install_pretrained_model_from_zip", model)
        elsewhere.predict("labels", trainer, images, tmp_path / "there", *options)
    assert not elsewhere.preprocessed.exists()
    files = sorted((tmp_path / "here").glob("case*.nii.gz"))
    assert len(files) == CASES
    for file in files:
        there = tmp_path / "there" / file.name
        np.testing.assert_array_equal(read_volume(there), read_volume(file))
        probabilities = (np.load(str(path).replace(".nii.gz", ".npz"))["probabilities"] for path in (file, there))
        np.testing.assert_array_equal(*probabilities)
