"""Models and images that all tests of this folder share."""

import pytest

from helpers.model_folders import LABELS, REGIONS, RGB, write_model, write_pictures, write_stacks
from helpers.nnunet_home import NnUNetHome
from nnunet_mamba.nnunet_folders import VARIABLES


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    """None of nnU-Net's three variables is set, as for a user who only predicts."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    with NnUNetHome(tmp_path_factory.mktemp("prediction")) as made:
        yield made


@pytest.fixture(scope="session")
def pictures(home):
    return write_pictures(home.root / "pictures")


@pytest.fixture(scope="session")
def stacks(home):
    return write_stacks(home.root / "stacks")


@pytest.fixture(scope="session")
def models(home):
    """By name; each in the folder of a trainer of its own. The seed is one whose networks find all labels."""
    pictures, stack = (RGB, LABELS, "NaturalImage2DIO"), ({"0": "MRI"}, LABELS, "SimpleITKIO")
    return {
        "rgb": write_model(home.root, "DermoMambaTrainer", *pictures, folds=(0, 1), seed=10),
        "rgb stock": write_model(home.root, "nnUNetTrainer", *pictures),
        "stack": write_model(home.root, "SliceMambaTrainer", *stack),
        "regions": write_model(home.root, "DAMambaTrainer", stack[0], REGIONS, stack[2]),
    }
