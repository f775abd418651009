"""How stock nnU-Net finds our trainers: the variable, the look-up, the wheel and what an uninstall removes."""

import importlib
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from nnunet_mamba import catalogue, nnunet_plugin, trainers

ROOT = Path(__file__).resolve().parents[1]
NAMES = [entry.trainer + ending for entry in catalogue.entries() for ending in ("", "_37epochs", "_demo")]


def fresh_python(code, **environment):
    """What a new interpreter of this environment prints last, without what this one put into its variables."""
    variables = {name: value for name, value in os.environ.items() if name != nnunet_plugin.VARIABLE} | environment
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=variables, check=True)
    return result.stdout.strip().splitlines()[-1]


def test_a_new_interpreter_points_nnunet_to_us():
    assert fresh_python("import os; print(os.environ['nnUNet_extTrainer'])") == nnunet_plugin.FOLDER


def test_what_the_user_set_stays_first(tmp_path):
    wanted = os.pathsep.join([str(tmp_path), nnunet_plugin.FOLDER])
    assert fresh_python("import os; print(os.environ['nnUNet_extTrainer'])", nnUNet_extTrainer=str(tmp_path)) == wanted


def test_registering_twice_adds_once(monkeypatch):
    monkeypatch.setenv(nnunet_plugin.VARIABLE, "")
    nnunet_plugin.register()
    nnunet_plugin.register()
    assert os.environ[nnunet_plugin.VARIABLE] == nnunet_plugin.FOLDER


@pytest.mark.parametrize("name", NAMES)
def test_nnunet_finds_each_trainer_and_it_is_the_installed_class(name):
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    found = recursive_find_trainer_class_by_name(name)
    home = importlib.import_module(found.__module__)
    assert f"{found.__module__}.".startswith("nnunet_mamba.trainers.") and found.__name__ == name
    assert found is getattr(home, name) is recursive_find_trainer_class_by_name(name)


@pytest.mark.parametrize("ending", ["_0epochs", "_-3epochs", "_03epochs", "_epochs", "_5epoch", "_5epochs_5epochs"])
def test_a_wrong_ending_is_refused_and_the_right_ones_are_named(ending, capfd):
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    name = catalogue.NETWORKS[0].trainer + ending
    with pytest.raises(RuntimeError, match="Could not find requested nnunet trainer"):
        recursive_find_trainer_class_by_name(name)
    said = capfd.readouterr().err
    assert f"nnunet_mamba: got the trainer '{name}', wanted " in said and "with _<n>epochs at its end, n from 1" in said


def test_trainers_of_others_are_none_of_our_business(capfd):
    from nnunet_mamba.ext import nnunet_mamba_trainers

    assert not hasattr(nnunet_mamba_trainers, "nnUNetTrainerOfMine") and capfd.readouterr().err == ""


def test_a_class_for_any_number_of_epochs_is_pickled_by_its_name():
    """Another process makes the class again, as the processes of a distributed training do."""
    name = f"{catalogue.NETWORKS[0].trainer}_37epochs"
    pickled = pickle.dumps(getattr(trainers, name))
    assert pickle.loads(pickled) is getattr(trainers, name)
    code = f"import pickle; found = pickle.loads({pickled!r}); print(found.__name__, found.num_epochs)"
    assert fresh_python(code) == f"{name} 37"


def test_spawned_workers_find_trainers_too():
    code = (
        "import multiprocessing, os\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(os.getenv, ('nnUNet_extTrainer',)))"
    )
    assert fresh_python(code) == nnunet_plugin.FOLDER


def test_wheel_holds_the_pth_and_every_room(tmp_path):
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(ROOT),
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(tmp_path),
    ]
    if subprocess.run(
        [sys.executable, "-c", "import setuptools.command.editable_wheel"], capture_output=True
    ).returncode:
        pip.remove("--no-build-isolation")
    subprocess.run(pip, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        record = archive.read(next(name for name in names if name.endswith("RECORD"))).decode()
    assert "nnunet_mamba.pth" in names and "nnunet_mamba.pth," in record  # what is in RECORD goes with an uninstall
    for name in (
        "nnunet_mamba/ext/nnunet_mamba_trainers.py",
        "nnunet_mamba/catalogue.py",
        *(f"nnunet_mamba/trainers/{entry.trainer_file}.py" for entry in catalogue.NETWORKS),
        "nnunet_mamba/dataset_conversion/ph2.py",
        "nnunet_mamba/dataset_conversion/formats/images.py",
        "nnunet_mamba/dataset_conversion/pipeline/convert.py",
        "nnunet_mamba/ops/scan.py",
    ):
        assert name in names
    tops = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert tops == {"nnunet_mamba", "nnunet_mamba.pth"}
