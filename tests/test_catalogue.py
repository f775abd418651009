"""The catalogue: true figures, the tables in the docs, and that a network or a loss needs only its row and files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import tiny_nnunet
from helpers.multiply_adds import multiply_adds
from nnunet_mamba import catalogue, losses, networks, trainers
from nnunet_mamba.planning.training_step import build_network

ROOT = Path(__file__).resolve().parents[1]
# what a newcomer writes: a loss; and a network, its trainer and its row
TOY = {
    "losses/toy.py": '''
"""Toy, a loss of one line (Doe et al. 2031)."""

from torch import nn


class ToyLoss(nn.Module):
    hyper_parameters = {"toy_weight": "weight"}

    def __init__(self, weight=0.5, batch_dice=True, ignore_label=None):
        super().__init__()
        self.weight = weight

    def forward(self, logits, target):
        return self.weight * nn.functional.cross_entropy(logits, target[:, 0].long())
''',
    "networks/toy.py": """
from torch import nn


class ToyNet(nn.Module):
    published_names = ((r"^out\\\\.", "head.seg_layers."),)

    def __init__(self, in_channels, num_classes, widths=(2,)):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        self.head = nn.ModuleDict({"seg_layers": nn.Conv2d(widths[0], num_classes, 1)})

    def forward(self, x):
        return self.head["seg_layers"](self.stem(x).relu())
""".replace("\\\\", "\\"),
    "trainers/toy_trainer.py": """
from nnunet_mamba.losses import ToyLoss
from nnunet_mamba.networks.toy import ToyNet
from nnunet_mamba.trainers.adam_with_plateau import AdamWithPlateau
from nnunet_mamba.trainers.sizes_in_plans import sizes_in_plans
from nnunet_mamba.trainers.with_loss import WithLoss


class ToyTrainer(WithLoss, AdamWithPlateau):
    loss_class = ToyLoss
    enable_deep_supervision = False
    initial_lr = 1e-2

    @staticmethod
    def build_network_architecture(
        plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision=False
    ):
        return ToyNet(num_input_channels, num_output_channels, **sizes_in_plans(configuration_manager, "toy"))

    def _get_deep_supervision_scales(self):
        return None
""",
}
ROW = """    Entry(
        "ToyTrainer", "Toy", "Toy", "Doe et al. 2031", "toy", "toy_trainer", "ToyNet", "toy",
        sizes={"widths": "channels (2)"}, sizes_entry="toy",
    ),
)


def network("""


@pytest.mark.parametrize("entry", catalogue.NETWORKS, ids=lambda entry: entry.key)
def test_figures_match_the_network(entry):
    network = build_network(entry.key, 3, 1, (192, 256))
    assert type(network) is getattr(networks, entry.network)
    assert sum(parameter.numel() for parameter in network.parameters()) == entry.parameters
    assert multiply_adds(network, 1, 3, 192, 256) == entry.multiply_adds


@pytest.mark.parametrize("page", ["README.md", "docs/networks.md"])
def test_the_docs_show_the_table(page):
    assert catalogue.table() in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "trainer", "changed"),
    [
        ("DAMambaTrainer", "DAMambaTrainer", {}),
        ("nnUNetTrainerASFM_12epochs", "nnUNetTrainerASFM", {"num_epochs": 12}),
        ("DAMambaTrainer_tuned", "DAMambaTrainer_tuned", {}),
        ("DAMambaTrainer_tuned_3epochs", "DAMambaTrainer_tuned", {"num_epochs": 3}),
        ("SliceMambaSupernetTrainer_demo", "SliceMambaSupernetTrainer", catalogue.DEMO),
    ],
)
def test_names_of_trainers(name, trainer, changed):
    entry, attributes = catalogue.find(name)
    assert (entry.trainer, attributes) == (trainer, changed)


@pytest.mark.parametrize(
    "name", ["", "nnUNetTrainer", "DAMambaTrainer_0epochs", "DAMambaTrainer_5epochs_5epochs", "DermoMambaTrainer_tuned"]
)
def test_other_names_are_refused(name):
    with pytest.raises(KeyError, match="wanted DAMambaTrainer, .*, nnUNetTrainerASFM, .* with _<n>epochs at its end"):
        catalogue.find(name)


def test_rooms_list_what_they_have():
    assert {"ASFMLoss", "GuideFusionLoss"} <= set(losses.__all__) <= set(dir(losses))
    assert {entry.network for entry in catalogue.NETWORKS} < set(dir(networks))
    assert set(catalogue.names()) < set(dir(trainers))
    for room in (losses, networks, trainers):
        with pytest.raises(AttributeError, match="Nothing"):
            room.Nothing  # noqa: B018 (it raises)


@pytest.fixture(scope="module")
def with_toys(tmp_path_factory):
    """Environment of a copy of the package with the toys, and of a small preprocessed data set."""
    home = tmp_path_factory.mktemp("toys")
    package, leave = home / "nnunet_mamba", shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "nnunet_mamba", package, ignore=leave)
    for room in ("trainers", "dataset_conversion"):
        shutil.copytree(ROOT / room, package / room, ignore=leave)
    for file, source in TOY.items():
        (package / file).write_text(source.lstrip())
    rows = (package / "catalogue.py").read_text()
    (package / "catalogue.py").write_text(rows.replace(")\n\n\ndef network(", ROW, 1))
    cases = tiny_nnunet.discs(2)
    variables = tiny_nnunet.write(home, cases, [{"train": ["disc0"], "val": ["disc1"]}])
    images = home / "images"
    images.mkdir()
    Image.fromarray(cases["disc1"][0][0, 0].clip(0, 255).astype(np.uint8)).save(images / "disc1_0000.png")
    unset = {"nnUNet_extTrainer": "", "NNUNET_MAMBA_SCAN": "", "nnUNet_n_proc_DA": "0"}
    return os.environ | variables | unset | {"PYTHONPATH": str(home), "IMAGES": str(images)}


def python(environment, code):
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


def test_a_network_is_its_row_and_two_files(with_toys):
    said = python(
        with_toys,
        """
import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunet_mamba import catalogue
from nnunet_mamba.cli.main import main
from nnunet_mamba.networks import ToyNet, load_published_state_dict
from nnunet_mamba.planning.memory import training_bytes
from nnunet_mamba.planning.planner import PLANNERS
found = recursive_find_trainer_class_by_name("ToyTrainer_3epochs")
print("FOUND", found.__name__, found.num_epochs, found.toy_weight)
network = ToyNet(1, 2)
published = {name.replace("head.seg_layers", "out"): torch.ones_like(x) for name, x in network.state_dict().items()}
load_published_state_dict(network, published)
print("LOADED", network.head.seg_layers.weight.sum().item())
sizes = (("widths", (64,)),)
few, many = (training_bytes("toy", 1, 2, (32, 32), 2, sizes[:count]) for count in (0, 1))
print("COUNTED", few < many, PLANNERS["toy", "RAM"].__name__)
print("| `ToyTrainer` | Toy |" in catalogue.table())
main(["doctor"])
main(["plan", "--help"])
""",
    )
    assert "FOUND ToyTrainer_3epochs 3 0.5" in said, said
    assert "LOADED 4.0" in said and "COUNTED True ToyNetPlannerRAM\nTrue" in said, said
    assert ", ToyTrainer, nnUNetTrainer" in said  # of the doctor
    assert ",toy}" in said and "--widths N" in said  # of the planner


def test_a_loss_is_one_file_which_trains_for_any_number_of_epochs_and_predicts(with_toys):
    """By nnU-Net's own commands; prediction takes the trainer's name from the checkpoint."""
    trainer, scripts = "nnUNetTrainerToy_1epochs", Path(sys.executable).parent
    data = [tiny_nnunet.NAME, "2d", "0", "-tr", trainer, "-device", "cpu"]
    folder = Path(with_toys["nnUNet_results"], tiny_nnunet.NAME, f"{trainer}__nnUNetPlans__2d")
    options = ["-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1", "--disable_tta"]
    predictions = Path(with_toys["IMAGES"]).with_name("predictions")
    predict = ["-m", str(folder), "-i", with_toys["IMAGES"], "-o", str(predictions), *options]
    for command, arguments in (("nnUNetv2_train", data), ("nnUNetv2_predict_from_modelfolder", predict)):
        done = subprocess.run([str(scripts / command), *arguments], env=with_toys, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    truth = tiny_nnunet.discs(2)["disc1"][1][0, 0]
    predicted = np.asarray(Image.open(predictions / "disc1.png"))
    assert 2 * (predicted & truth).sum() > 0.5 * (predicted.sum() + truth.sum())  # it has learnt the loss's task
