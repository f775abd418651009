"""The demo's result: the mean Dice of the held-out images and a picture of them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from nnunet_mamba.demo.steps import PREDICTIONS, RAW
from nnunet_mamba.evaluation import OverlayCase, contact_sheet


def draw_result(folder: Path, picture: Path) -> float:
    """Draw the predictions in the demo's `folder`, with nnU-Net's Dice, to `picture`; returns the mean Dice."""
    summary = json.loads((folder / PREDICTIONS / "summary.json").read_text(encoding="utf-8"))
    contact_sheet([_overlay_case(folder, case) for case in summary["metric_per_case"]], picture)
    return summary["foreground_mean"]["Dice"]


def _overlay_case(folder: Path, case: dict) -> OverlayCase:
    name = Path(case["prediction_file"]).stem
    image, truth, prediction = (
        np.asarray(Image.open(folder / file))
        for file in (f"{RAW}/imagesTs/{name}_0000.png", case["reference_file"], case["prediction_file"])
    )
    return OverlayCase(image, truth, prediction, f"{name}   Dice {case['metrics']['1']['Dice']:.3f}")
