"""What the report says of the costs of a trainer."""

import json
from types import SimpleNamespace

from nnunet_mamba.report.cost_table import cost_content

PROFILE = {
    "parameters": 5_834_124,
    "patch": [192, 256],
    "channels": 3,
    "multiply_adds": 3_500_000_000,
    "scan_multiply_adds": 800_000_000,
}


def test_known_costs_are_listed_and_folders_of_predictions_are_not(tmp_path):
    trained, predicted = tmp_path / "trained", tmp_path / "predicted"
    for folder in (trained, predicted):  # nnU-Net copies the plans to its predictions
        folder.mkdir()
        (folder / "plans.json").write_text("{}")
    (trained / "profile.json").write_text(json.dumps(PROFILE))
    (row,) = cost_content(SimpleNamespace(trainers=["A", "B"], folders=[trained, predicted]))
    assert row["trainer"] == "A" and row["parameters"] == "5.834 M" and row["with_scan"] == "4.3 G"
    assert row["memory"] == row["seconds"] == "not known"
