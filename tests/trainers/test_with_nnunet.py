"""The trainers through nnU-Net's own commands on a small data set: train, be killed, go on, predict, evaluate.

The trainings here use a user's own trainer, derived from ours and found in a folder of the user's `nnUNet_extTrainer`.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.nnunet_home import SIZES as SLICE_MAMBA_SIZES
from nnunet_mamba import networks

SHORT = """
from nnunet_mamba.trainers.da_mamba_trainer import DAMambaTrainer
from nnunet_mamba.trainers.dermo_mamba_trainer import DermoMambaTrainer
from nnunet_mamba.trainers.slice_mamba_trainer import SliceMambaTrainer

class Short:
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.num_iterations_per_epoch = 3
        self.num_val_iterations_per_epoch = 1

class ShortDAMambaTrainer(Short, DAMambaTrainer):
    pass

class ShortDermoMambaTrainer(Short, DermoMambaTrainer):
    pass

class ShortSliceMambaTrainer(Short, SliceMambaTrainer):
    pass

class SupervisedDermoMambaTrainer(Short, DermoMambaTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 1
        self.enable_deep_supervision = True
"""
RATES = {  # plateaus that three epochs do not reach, and three steps of the cosine from 1e-3 to 1e-5
    "ShortDAMambaTrainer": [1e-3] * 3,
    "ShortDermoMambaTrainer": [1e-4] * 3,
    "ShortSliceMambaTrainer": [1e-3, 7.525e-4, 2.575e-4],
}
SIZE = (40, 56)  # no multiple of 32
SCRIPTS = Path(sys.executable).parent


def disc(generator):
    """An image of noise with a brighter disc, and the disc."""
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    centre = generator.integers(12, 28, 2)
    mask = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < generator.integers(25, 80)
    image = generator.integers(0, 100, (*SIZE, 3)) + 100 * mask[..., None]
    return image.astype(np.uint8), mask.astype(np.uint8)


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory):
    """Environment of a planned and preprocessed data set 7 with 12 cases and 3 to predict."""
    home = tmp_path_factory.mktemp("nnunet")
    environment = os.environ | {
        "nnUNet_raw": str(home / "raw"),
        "nnUNet_preprocessed": str(home / "preprocessed"),
        "nnUNet_results": str(home / "results"),
        "nnUNet_extTrainer": str(home / "mine"),
        "nnUNet_def_n_proc": "1",
        "nnUNet_n_proc_DA": "1",
    }
    (home / "mine").mkdir()
    (home / "mine" / "short_trainer.py").write_text(SHORT)
    dataset = home / "raw" / "Dataset007_Discs"
    generator = np.random.default_rng(0)
    for folder, cases in (("Tr", 12), ("Ts", 3)):
        (dataset / f"images{folder}").mkdir(parents=True)
        (dataset / f"labels{folder}").mkdir()
        for case in range(cases):
            image, mask = disc(generator)
            Image.fromarray(image).save(dataset / f"images{folder}" / f"disc{case:02}_0000.png")
            Image.fromarray(mask).save(dataset / f"labels{folder}" / f"disc{case:02}.png")
    description = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "disc": 1},
        "numTraining": 12,
        "file_ending": ".png",
    }
    (dataset / "dataset.json").write_text(json.dumps(description))
    environment |= {"HOME_OF_TEST": str(home)}
    run(environment, "nnUNetv2_plan_and_preprocess", "-d", "7", "-c", "2d", "-npfp", "1", "-np", "1")
    plans_file = home / "preprocessed" / "Dataset007_Discs" / "nnUNetPlans.json"
    plans = json.loads(plans_file.read_text())
    plans["configurations"]["2d"]["slicemamba"] = SLICE_MAMBA_SIZES
    plans_file.write_text(json.dumps(plans))
    return environment


def command(name, *arguments):
    return [str(SCRIPTS / name), *arguments]


def run(environment, name, *arguments, fails=False):
    result = subprocess.run(command(name, *arguments), env=environment, capture_output=True, text=True)
    output = result.stdout + result.stderr
    assert (result.returncode != 0) == fails, output
    return output


def train(*more, trainer="ShortDAMambaTrainer"):
    return "nnUNetv2_train", "7", "2d", "0", "-tr", trainer, "-device", "cpu", *more


def train_through_a_kill(nnunet, trainer):
    """The output of a training that went on after a SIGKILL in its second epoch."""
    process = subprocess.Popen(
        command(*train(trainer=trainer)),
        env=nnunet,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.rstrip().endswith("Epoch 1"):
            os.killpg(process.pid, signal.SIGKILL)  # its data workers too, which would outlive it
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL, "".join(seen)
    return run(nnunet, *train("--c", trainer=trainer))


@pytest.fixture(scope="module")
def trained(nnunet):
    return train_through_a_kill(nnunet, "ShortDAMambaTrainer")


def fold(environment, trainer="ShortDAMambaTrainer"):
    return Path(environment["nnUNet_results"]) / "Dataset007_Discs" / f"{trainer}__nnUNetPlans__2d" / "fold_0"


@pytest.mark.parametrize(
    "trainer", ["ShortDAMambaTrainer", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in list(RATES)[1:])]
)
def test_killed_training_goes_on_where_it_was(nnunet, trained, trainer):
    output = trained if trainer == "ShortDAMambaTrainer" else train_through_a_kill(nnunet, trainer)
    epochs = [line.split()[-1] for line in output.splitlines() if line.split()[-2:-1] == ["Epoch"]]
    assert epochs == ["1", "2"]
    checkpoint = torch.load(fold(nnunet, trainer) / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["current_epoch"] == 3
    assert checkpoint["trainer_name"] == trainer
    logged = checkpoint["logging"]
    assert len(logged["mean_fg_dice"]) == 3 and logged["lrs"] == pytest.approx(RATES[trainer])
    steps = {state["step"].item() for state in checkpoint["optimizer_state"]["state"].values()}
    assert steps == {9.0}  # three epochs of three iterations, the killed epoch's not counted twice


def test_final_validation_was_run(nnunet, trained):
    summary = json.loads((fold(nnunet) / "validation" / "summary.json").read_text())
    assert 0 <= summary["foreground_mean"]["Dice"] <= 1 and len(summary["metric_per_case"]) == 3


@pytest.mark.parametrize(
    ("trainer", "network"),
    [
        ("ShortDAMambaTrainer", "DAMambaNet"),
        pytest.param("SupervisedDermoMambaTrainer", "DermoMamba", marks=pytest.mark.exhaustive),
    ],
)
def test_prediction_equals_the_network_called_directly(nnunet, trained, tmp_path, trainer, network):
    if trainer != "ShortDAMambaTrainer":
        run(nnunet, *train(trainer=trainer))
    images = Path(nnunet["nnUNet_raw"]) / "Dataset007_Discs" / "imagesTs"
    run(
        nnunet, "nnUNetv2_predict", "-d", "7", "-c", "2d", "-f", "0", "-tr", trainer, "-i", str(images),
        "-o", str(tmp_path), "-device", "cpu", "-npp", "1", "-nps", "1", "--disable_tta", "--save_probabilities",
    )  # fmt: skip
    weights = torch.load(fold(nnunet, trainer) / "checkpoint_final.pth", weights_only=False)["network_weights"]
    assert any(name.startswith("heads.seg_layers.4") for name in weights) == (trainer == "SupervisedDermoMambaTrainer")
    network = getattr(networks, network)(3, 2, SIZE, deep_supervision=False).eval()
    network.load_state_dict(weights, strict=True)
    for image in sorted(images.iterdir()):
        case = image.name.removesuffix("_0000.png")
        pixels = np.asarray(Image.open(image), dtype=np.float32)
        normal = (pixels - pixels.mean((0, 1))) / pixels.std((0, 1))
        with torch.inference_mode():
            logits = network(torch.from_numpy(normal).permute(2, 0, 1)[None])
        probabilities = np.load(tmp_path / f"{case}.npz")["probabilities"][:, 0]
        # nnU-Net weighs and sums logits in float16, with few digits left in the corners of its Gaussian
        np.testing.assert_allclose(probabilities, logits.softmax(1)[0].numpy(), atol=2e-2)
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{case}.png")), probabilities.argmax(0))
