"""`nnunet_mamba plan` on a small data set: the plans, what nnU-Net does with them, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from PIL import Image

from nnunet_mamba import catalogue, trainers
from nnunet_mamba.cli.main import main
from nnunet_mamba.machine_memory import GIB, GPU, OUTSIDE, RAM
from nnunet_mamba.planning import planner
from nnunet_mamba.planning.epochs import advised_epochs

SIZE = (40, 72)
WITH_SIZES = [entry for entry in catalogue.NETWORKS if entry.sizes]
SCRIPTS = Path(sys.executable).parent
FINGERPRINT = {
    "spacings": [[999.0, 1.0, 1.0]] * 12,
    "shapes_after_crop": [[1, *SIZE]] * 12,
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": 100.0, "std": 30.0, "percentile_00_5": 1.0, "percentile_99_5": 250.0}
    },
    "median_relative_size_after_cropping": 1.0,
}


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """The preprocessed folder of a data set 7 with 12 cases and a fingerprint."""
    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / name))
        (tmp_path / name).mkdir()
    monkeypatch.setenv("nnUNet_def_n_proc", "1")
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    raw = tmp_path / "raw" / "Dataset007_Noise"
    generator = np.random.default_rng(0)
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    for case in range(12):
        Image.fromarray(generator.integers(0, 255, SIZE, dtype=np.uint8)).save(
            raw / "imagesTr" / f"n{case:02}_0000.png"
        )
        Image.fromarray(generator.integers(0, 2, SIZE, dtype=np.uint8)).save(raw / "labelsTr" / f"n{case:02}.png")
    description = {
        "channel_names": {"0": "x"},
        "labels": {"background": 0, "a": 1},
        "numTraining": 12,
        "file_ending": ".png",
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    folder = tmp_path / "preprocessed" / "Dataset007_Noise"
    folder.mkdir()
    (folder / "dataset_fingerprint.json").write_text(json.dumps(FINGERPRINT))
    return folder


@pytest.fixture
def quick(monkeypatch):
    """An estimate that takes no time."""

    def line(network, in_channels, num_classes, patch_size, batch_size, sizes, on_gpu=False):
        return 100_000_000 + 10_000 * np.prod(patch_size) * batch_size

    monkeypatch.setattr(planner, "training_bytes", line)


def plan(*more, network="dermomamba"):
    return main(["plan", "-d", "7", "--network", network, *map(str, more)])


def configuration(folder, name):
    return json.loads((folder / f"{name}.json").read_text())["configurations"]["2d"]


def change(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_plans_fit_the_memory_and_nnunet_takes_them(dataset, capsys):
    assert plan("--ram", 4) == 0
    said = capsys.readouterr().out
    name = "nnUNetMambaPlans_DermoMamba_4G_RAM"
    settings = configuration(dataset, name)
    assert (settings["patch_size"], settings["batch_size"]) == (
        [64, 96],
        2,
    )  # 5 % of the pixels are fewer than two patches
    assert settings["data_identifier"] == "nnUNetPlans_2d" and settings["batch_dice"] is True
    next_commands = [line.split() for line in said.splitlines() if line.startswith("  nnUNetv2_")]
    assert [words[0] for words in next_commands] == ["nnUNetv2_preprocess", "nnUNetv2_train", "nnUNetv2_predict"]
    preprocess = next_commands[0]
    done = subprocess.run([str(SCRIPTS / preprocess[0]), *preprocess[1:], "-np", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    code = f"""
import torch
from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import get_trainer_from_args
for trainer in ("DermoMambaTrainer", "nnUNetTrainer"):  # nnU-Net's own network fits the patch as well
    trainer = get_trainer_from_args("7", "2d", 0, trainer, {name!r}, device=torch.device("cpu"))
    trainer.initialize()
    scales = trainer._get_deep_supervision_scales() or [(1, 1)]
    target = [torch.zeros(2, 1, round(64 * high), round(96 * wide)) for high, wide in scales]
    target = target if trainer.enable_deep_supervision else target[0]
    trainer.on_train_epoch_start()
    loss = trainer.train_step({{"data": torch.randn(2, 1, 64, 96), "target": target}})
    assert torch.isfinite(torch.as_tensor(loss["loss"]))
    save_json(trainer.plans_manager.plans, trainer.output_folder_base + "/plans.json")
    save_json(trainer.dataset_json, trainer.output_folder_base + "/dataset.json")
    trainer.save_checkpoint(trainer.output_folder + "/checkpoint_final.pth")
    predictor = nnUNetPredictor(device=torch.device("cpu"), use_mirroring=False)
    predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,))
    print("READY", predictor.configuration_manager.patch_size, type(predictor.network).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    ready = [line for line in done.stdout.splitlines() if line.startswith("READY")]
    assert ready == ["READY [64, 96] DermoMamba", "READY [64, 96] PlainConvUNet"]
    assert plan("--ram", 4, "-p", "again") == 0
    assert "Preprocessed already" in capsys.readouterr().out


def test_more_memory_a_larger_plan(dataset, quick):
    change(dataset / "dataset_fingerprint.json", shapes_after_crop=[[1, 100, 180]] * 12)
    raw = Path(os.environ["nnUNet_raw"], dataset.name, "dataset.json")
    change(raw, numTraining=500)
    pixels = []
    for gpu_memory in (0.7, 0.9, 2):
        assert plan("--gpu-memory", gpu_memory, "-p", "mine", "--overwrite") == 0
        settings = configuration(dataset, "mine")
        assert settings["patch_size"][0] % 32 == settings["patch_size"][1] % 32 == 0
        pixels.append(np.prod(settings["patch_size"]) * settings["batch_size"])
    assert pixels == sorted(set(pixels))


@pytest.mark.parametrize("network", [entry.key for entry in WITH_SIZES])
def test_plans_of_another_size_build_it(dataset, capsys, network):
    """In less memory than the published size; SliceMamba and its supernet can share them."""
    sizes = {"dims": [8, 16, 32], "depths": [1, 2, 1], "depths_decoder": [1, 1, 1]}
    options = ("--dims", 8, 16, 32, "--depths", 1, 2, 1, "--depths-decoder", 1, 1, 1)
    assert plan("--ram", 3, *options, network=network) == 0
    said = capsys.readouterr().out
    assert ("nnunet_mamba search -d 7 -f 0 -p nnUNetMamba" in said) == (network == "slicemamba_supernet")
    (file,) = dataset.glob("nnUNetMambaPlans_SliceMamba*_8-16-32_1-2-1_1-1-1_3G_RAM.json")
    settings = configuration(dataset, file.stem)
    assert settings["slicemamba"] == sizes
    manager = PlansManager(json.loads(file.read_text())).get_configuration("2d")
    for entry in WITH_SIZES:
        built = getattr(trainers, entry.trainer).build_network_architecture(None, manager, 1, 2)
        assert built.dims == (8, 16, 32) and len(built.blocks) == 7


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (
            "dermomamba",
            ("--dims", 8, 16),
            "dims: DermoMamba has no such sizes, wanted --network slicemamba or slicemamba_supernet",
        ),
        ("slicemamba", ("--dims", 8, 17, 34, 68), "dims: got (8, 17, 34, 68), wanted each twice the one before"),
        ("slicemamba", ("--dims", 8, 16), "got 4, 4 and 2 stages, wanted the same number of each"),
    ],
)
def test_sizes_that_cannot_be_are_refused(dataset, capsys, network, options, message):
    before = sorted(dataset.iterdir())
    assert plan("--ram", 3, *options, network=network) == 1
    assert message in capsys.readouterr().err and sorted(dataset.iterdir()) == before


def test_the_least_memory_is_named(dataset, quick, capsys):
    assert plan("--gpu-memory", 0.51) == 1
    said = capsys.readouterr().err
    assert "got 0.51 GiB of GPU memory, wanted at least 0.7: the smallest patch, 32x32, with a batch of 2" in said
    assert not list(dataset.glob("*Plans*"))
    assert plan("--gpu-memory", 0.7) == 0


def test_images_with_depth_are_planned_in_2d_only(dataset, quick):
    change(dataset / "dataset_fingerprint.json", spacings=[[3.0, 1.0, 1.0]] * 12, shapes_after_crop=[[20, 60, 64]] * 12)
    assert plan("--gpu-memory", 0.8, "-p", "flat") == 0
    plans = json.loads((dataset / "flat.json").read_text())
    assert list(plans["configurations"]) == ["2d"] and plans["configurations"]["2d"]["patch_size"] == [64, 64]


def test_preprocessed_data_is_shared_only_where_it_is_the_same(dataset, quick):
    assert plan("--gpu-memory", 0.8, "-p", "mine") == 0
    other = json.loads((dataset / "mine.json").read_text())
    other["configurations"]["2d"]["spacing"] = [2.0, 2.0]
    (dataset / "nnUNetPlans.json").write_text(json.dumps(other))
    change(
        dataset / "mine.json",
        configurations=other["configurations"] | {"2d_big": {"inherits_from": "2d", "batch_size": 9}},
    )
    assert plan("--gpu-memory", 0.8, "-p", "mine", "--overwrite") == 0
    assert configuration(dataset, "mine")["data_identifier"] == "mine_2d"
    configurations = json.loads((dataset / "mine.json").read_text())["configurations"]
    assert configurations["2d_big"] == {"inherits_from": "2d", "batch_size": 9}  # what the user added stays


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu-memory", 0], "--gpu-memory: got 0, wanted a size in GiB above 0"),
        (["--ram", "nan"], "--ram: got nan"),
        (["--ram", 2, "-d", 8], "-d: got 8, wanted the number or name of a data set in nnU-Net's folders; there are"),
        (["--ram", 2, "-d", "Noisy"], "-d: got Noisy, wanted the number or name of a data set"),
        (["--ram", 2, "-p", "nnUNetPlans"], "-p: got 'nnUNetPlans', which is a file of nnU-Net's own"),
        (["--ram", 2, "-p", "../mine"], "wanted a name without folders"),
    ],
)
def test_refused(dataset, capsys, arguments, message):
    before = sorted(dataset.rglob("*"))
    assert plan(*arguments) == 1
    assert message in capsys.readouterr().err
    assert sorted(dataset.rglob("*")) == before


@pytest.mark.parametrize("asked", ["7", "007", "Dataset007_Noise", "Noise"])
def test_the_data_set_by_number_or_name(dataset, quick, capsys, asked):
    assert main(["plan", "-d", asked, "--network", "dermomamba", "--ram", "4"]) == 0
    assert "nnUNetv2_train 7 2d 0 " in capsys.readouterr().out


def test_two_data_sets_of_a_name_or_number_must_be_told_apart(dataset, quick, capsys):
    for name, asked in (("Dataset008_Noise", "Noise"), ("Dataset007_Other", "7")):
        (dataset.parent / name).mkdir()
        assert plan("--ram", 4, "-d", asked) == 1
        assert f"-d {asked}: got several data sets of this name or number, Dataset007_Noise, {name}" in (
            capsys.readouterr().err
        )
        (dataset.parent / name).rmdir()
    (dataset.parents[1] / "raw" / dataset.name / "dataset.json").unlink()
    assert plan("--ram", 4) == 1
    assert "-d 7: there is no Dataset007_Noise/dataset.json in" in capsys.readouterr().err


def test_plans_for_ram_and_for_a_gpu_are_two_files(dataset, quick):
    assert plan("--ram", 4) == 0 and plan("--gpu-memory", 4) == 0
    names = [f"nnUNetMambaPlans_DermoMamba_4G_{kind}.json" for kind in ("GPU", "RAM")]
    assert sorted(path.name for path in dataset.glob("*Plans*")) == names


def test_plans_are_only_replaced_on_demand(dataset, quick, capsys):
    assert plan("--ram", 4, "-p", "mine") == 0
    before = (dataset / "mine.json").read_bytes()
    assert plan("--gpu-memory", 0.7, "-p", "mine") == 1
    assert f"-p: mine is there already, {dataset / 'mine.json'}: choose another name" in capsys.readouterr().err
    assert (dataset / "mine.json").read_bytes() == before
    assert plan("--gpu-memory", 0.7, "-p", "mine", "--overwrite") == 0
    assert (dataset / "mine.json").read_bytes() != before


def test_a_folder_that_cannot_be_written_is_named_by_its_variable(dataset, quick, monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "file" / "inner"))
    assert plan("--ram", 4) == 1
    assert f"nnUNet_preprocessed={tmp_path}/file/inner: cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "images", "batch_size", "epochs"),
    [
        (RAM, 160, 8, 5),
        (RAM, 2000, 16, 15),
        (RAM, 10_000, 8, 20),
        (GPU, 160, 8, 50),
        (GPU, 2000, 12, 200),
        (GPU, 50_000, 12, 1000),
    ],
)
def test_advised_epochs(kind, images, batch_size, epochs):
    assert advised_epochs(kind, images, batch_size) == epochs


def test_the_advice_counts_the_training_images_of_fold_0(dataset, quick, capsys):
    (dataset / "splits_final.json").write_text(json.dumps([{"train": ["n00", "n01"], "val": ["n02"]}]))
    assert plan("--gpu-memory", 4) == 0
    said = capsys.readouterr().out
    assert "An epoch is 250 batches: 500 images, each of fold 0's 2 training images 250 times." in said
    assert "Begin with 50 epochs on a GPU (_50epochs" in said and "-tr DermoMambaTrainer_50epochs -p" in said


def test_the_steps_of_the_search_name_the_same_trainer(dataset, quick, capsys):
    supernet = catalogue.network("slicemamba_supernet")
    assert plan("--gpu-memory", 4, "-p", "mine", network=supernet.key) == 0
    said = capsys.readouterr().out
    assert f"nnUNetv2_train 7 2d 0 -tr {supernet.trainer}_50epochs -p mine\n" in said
    assert f"nnunet_mamba search -d 7 -f 0 -p mine -tr {supernet.trainer}_50epochs\n" in said
    assert f"nnUNetv2_train 7 2d 0 -tr {supernet.finds}_50epochs -p mine\n" in said


def test_folders_must_be_set(dataset, monkeypatch, capsys):
    monkeypatch.delenv("nnUNet_raw")
    assert plan("--ram", 2) == 1
    assert "nnUNet_raw is not set" in capsys.readouterr().err


def test_half_of_the_ram_without_a_gpu(monkeypatch, tmp_path):
    import torch

    from nnunet_mamba.planning import budget

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(budget, "machine_ram", lambda: 16 * GIB)
    assert budget.budget() == (8, RAM) and budget.budget().for_step == 8 - OUTSIDE[RAM]


def test_a_system_that_does_not_tell_its_ram(monkeypatch):
    import torch

    from nnunet_mamba.planning import budget

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delattr(os, "sysconf")
    with pytest.raises(ValueError, match="RAM is unknown: say how much .* --ram GIB"):
        budget.budget()
