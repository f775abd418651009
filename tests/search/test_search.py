"""The three commands of the slicing search on a small data set, with interruptions and errors in between."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from PIL import Image

from nnunet_mamba.search.evolution import candidate_of
from nnunet_mamba.search.study import finished, open_storage

SCRIPTS = Path(sys.executable).parent
SHORT = """
import numpy, torch
from nnunet_mamba.trainers.slice_mamba_supernet_trainer import SliceMambaSupernetTrainer
from nnunet_mamba.trainers.slice_mamba_trainer import SliceMambaTrainer

class Short:
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 1, 120, 1
        self.initial_lr = 3e-3
        numpy.random.seed(0)
        torch.manual_seed(0)

class ShortSupernetTrainer(Short, SliceMambaSupernetTrainer):
    pass

class ShortSliceMambaTrainer(Short, SliceMambaTrainer):
    pass
"""
KILLED = """
import os, signal, sys
from nnunet_mamba.cli.main import main
from nnunet_mamba.search.judge import Judge

judge, asked = Judge.__call__, []

def killed(self, path):
    asked.append(path)
    if len(asked) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return judge(self, path)

Judge.__call__ = killed
main(sys.argv[1:])
"""
SIZES = {"dims": [8, 16], "depths": [1, 2], "depths_decoder": [2, 1]}
BLOCKS = 6
FEW = ("--population", "12", "--generations", "3", "--parents", "3", "--mutants", "6", "--crossovers", "4")


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory):
    """An environment with data set 8, grey images of a brighter band, planned for a small SliceMamba, preprocessed."""
    home = tmp_path_factory.mktemp("nnunet")
    environment = os.environ | {
        "nnUNet_raw": str(home / "raw"),
        "nnUNet_preprocessed": str(home / "preprocessed"),
        "nnUNet_results": str(home / "results"),
        "nnUNet_extTrainer": str(home / "mine"),
        "nnUNet_def_n_proc": "1",
        "nnUNet_n_proc_DA": "1",
        "OMP_NUM_THREADS": "1",
    }
    (home / "mine").mkdir()
    (home / "mine" / "short_search.py").write_text(SHORT)
    dataset = home / "raw" / "Dataset008_Bands"
    for folder in ("imagesTr", "labelsTr"):
        (dataset / folder).mkdir(parents=True)
    generator = np.random.default_rng(0)
    for case in range(10):
        mask = np.zeros((40, 72), np.uint8)
        top = generator.integers(4, 20)
        mask[top : top + 12, 10:60] = 1
        image = (generator.integers(0, 120, mask.shape) + 100 * mask).astype(np.uint8)
        Image.fromarray(image).save(dataset / "imagesTr" / f"band{case:02}_0000.png")
        Image.fromarray(mask).save(dataset / "labelsTr" / f"band{case:02}.png")
    labels = {"background": 0, "band": 1}
    description = {"channel_names": {"0": "grey"}, "labels": labels, "numTraining": 10, "file_ending": ".png"}
    (dataset / "dataset.json").write_text(json.dumps(description))
    run(environment, "nnUNetv2_plan_and_preprocess", "-d", "8", "-c", "2d", "-npfp", "1", "-np", "1")
    plans_file = home / "preprocessed" / "Dataset008_Bands" / "nnUNetPlans.json"
    plans = json.loads(plans_file.read_text())
    plans["configurations"]["2d"] |= {"batch_size": 2, "patch_size": [40, 72], "slicemamba": SIZES}
    plans_file.write_text(json.dumps(plans))
    return environment | {"nnUNet_n_proc_DA": "0"}  # augments in the training process, so that its seed counts


def run(environment, name, *arguments, fails=False):
    result = subprocess.run([str(SCRIPTS / name), *arguments], env=environment, capture_output=True, text=True)
    output = result.stdout + result.stderr
    assert (result.returncode != 0) == fails, output
    return output


def search(environment, *more, trainer="ShortSupernetTrainer", fails=False):
    return run(environment, "nnunet_mamba", *search_arguments(trainer), *more, fails=fails)


def search_arguments(trainer="ShortSupernetTrainer"):
    return "search", "-d", "8", "-f", "0", "-tr", trainer, "--device", "cpu", *FEW


def fold(environment, trainer="ShortSupernetTrainer"):
    return Path(environment["nnUNet_results"]) / "Dataset008_Bands" / f"{trainer}__nnUNetPlans__2d" / "fold_0"


@pytest.fixture(scope="module")
def supernet(nnunet):
    run(nnunet, "nnUNetv2_train", "8", "2d", "0", "-tr", "ShortSupernetTrainer", "-device", "cpu")
    return fold(nnunet)


def trials_of(url):
    storage = open_storage(url)
    return finished(optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage))


@pytest.fixture(scope="module")
def searched(nnunet, supernet):
    """The content of slicing.json after a search that was killed at its sixth candidate and resumed."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *search_arguments()], env=nnunet, capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    url = f"sqlite:///{supernet / 'search.db'}"
    before = trials_of(url)
    assert len(before) == 5
    output = search(nnunet)
    after = trials_of(url)
    assert [(t.number, t.value) for t in before] == [(t.number, t.value) for t in after][: len(before)]
    assert len(after) == 36 and len({candidate_of(trial) for trial in after}) == 36
    assert "36/36" in output and "random slicings: fitness" in output
    return json.loads((supernet / "slicing.json").read_text())


def test_search_cases_were_not_trained_on(nnunet, supernet):
    splits = json.loads((Path(nnunet["nnUNet_preprocessed"]) / "Dataset008_Bands" / "splits_final.json").read_text())
    kept = json.loads((supernet / "search_cases.json").read_text())
    assert set(kept) == set(splits[1]["val"]) and not set(kept) & set(splits[0]["val"])
    log = next(supernet.glob("training_log*")).read_text()
    assert "6 cases train the supernet, 2 are kept for the search." in log
    validated = json.loads((supernet / "validation" / "summary.json").read_text())
    assert {Path(case["prediction_file"]).stem for case in validated["metric_per_case"]} == set(kept)


def test_the_search_beats_the_mean_of_random_slicings(searched, supernet):
    assert searched["fitness"] > searched["random_slicings"]["mean"] + searched["random_slicings"]["sd"]
    assert searched["random_slicings"]["number"] in (11, 12)  # the kill may have cost one
    assert searched["candidates"] == 36 and searched["failed"] == 0
    assert len(searched["slicing"]) == BLOCKS and all(
        pair in [[2, 2], [2, 4], [4, 2], [4, 4]] for pair in searched["slicing"]
    )
    assert searched["fitness"] == pytest.approx((searched["mean_iou"] + searched["mean_dice"]) / 2)
    with Image.open(supernet / "search.png") as picture:
        assert min(picture.size) > 500


def test_two_processes_share_the_work(nnunet, supernet, searched, tmp_path):
    """Both start at once and create the storage; how many candidates each evaluates depends on the machine."""
    storage = str(tmp_path / "search.log")
    older = searched | {"slicing": [[2, 2]] * BLOCKS, "fitness": 0.1234}
    (supernet / "slicing.json").write_text(json.dumps(older))
    command = [str(SCRIPTS / "nnunet_mamba"), *search_arguments(), "--storage", storage]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    processes = [subprocess.Popen(command, env=nnunet, **pipes) for _ in range(2)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    trials = trials_of(storage)
    assert 36 <= len(trials) <= 37
    assert len({candidate_of(trial) for trial in trials}) == len(trials)
    assert all("36/36" in output and "best of 3" in output for output in outputs)
    found = json.loads((supernet / "slicing.json").read_text())
    assert found["fitness"] == max(trial.value for trial in trials)
    assert any("replaces an earlier search's slicing with fitness 0.1234" in output for output in outputs)


def test_the_training_takes_the_slicing_and_its_checkpoint_needs_no_other_file(nnunet, searched, tmp_path):
    found = json.loads((fold(nnunet) / "slicing.json").read_text())["slicing"]  # by the search that ended last
    trainer = "ShortSliceMambaTrainer"
    images = str(Path(nnunet["nnUNet_raw"]) / "Dataset008_Bands" / "imagesTr")
    output = run(nnunet, "nnUNetv2_train", "8", "2d", "0", "-tr", trainer, "-device", "cpu")
    assert "Slicing from" in output and "slicing.json" in output
    weights = torch.load(fold(nnunet, trainer) / "checkpoint_final.pth", weights_only=False)["network_weights"]
    slices = [tensor.tolist() for name, tensor in weights.items() if name.endswith("_extra_state")]
    assert slices == found
    other = Path(nnunet["nnUNet_results"]).parent / "elsewhere"
    (fold(nnunet) / "slicing.json").rename(other)
    try:
        run(nnunet, "nnUNetv2_predict", "-d", "8", "-c", "2d", "-f", "0", "-tr", trainer, "-i", images,
            "-o", str(tmp_path),
            "-device", "cpu", "-npp", "1", "-nps", "1", "--disable_tta", "--save_probabilities")  # fmt: skip
    finally:
        other.rename(fold(nnunet) / "slicing.json")
    from nnunet_mamba.networks import SliceMamba

    network = SliceMamba(1, 2, found, **SIZES).eval()
    network.load_state_dict(weights)
    assert network.slicing == tuple(map(tuple, found))
    pixels = np.asarray(Image.open(f"{images}/band03_0000.png"), dtype=np.float32)
    with torch.inference_mode():
        logits = network(torch.from_numpy((pixels - pixels.mean()) / pixels.std())[None, None])
    probabilities = np.load(tmp_path / "band03.npz")["probabilities"][:, 0]
    np.testing.assert_allclose(probabilities, logits.softmax(1)[0].numpy(), atol=2e-2)


BAD_INPUT = {
    (
        "--storage",
        "sqlite:////no/such/folder/search.db",
    ): "storage: 'sqlite:////no/such/folder/search.db' cannot be opened",
    (
        "-chk",
        "checkpoint_none.pth",
    ): "checkpoint_none.pth is missing; its folder has checkpoint_best.pth, checkpoint_final.pth",
    ("--seed", "1"): "started with other settings (seed was 0 and is now 1)",
    ("--population", "0"): "population: got 0, wanted 1 or more",
    ("--tiles", "0"): "--tiles: got 0, wanted 1 or more",
    ("-d", "77"): "-d: got 77, wanted the number or name of a data set",
    ("-tr", "ShortSliceMambaTrainer"): "got a checkpoint of SliceMamba (trainer ShortSliceMambaTrainer), wanted one",
    ("-chk", "checkpoint_small.pth"): "cannot be read as a checkpoint of the supernet in its plans",
}


def test_bad_input_is_named(nnunet, searched, supernet):
    """All in one process, because it starts slowly."""
    if not (fold(nnunet, "ShortSliceMambaTrainer") / "checkpoint_final.pth").exists():
        run(nnunet, "nnUNetv2_train", "8", "2d", "0", "-tr", "ShortSliceMambaTrainer", "-device", "cpu")
    other = torch.load(supernet / "checkpoint_final.pth", weights_only=False)
    other["network_weights"] = dict(list(other["network_weights"].items())[:-3])
    torch.save(other, supernet / "checkpoint_small.pth")
    before = (supernet / "slicing.json").read_bytes()
    code = "from nnunet_mamba.cli.main import main\n"
    code += f"for more in {list(BAD_INPUT)!r}: print('STATUS', main([*{search_arguments()!r}, *more]))"
    result = subprocess.run(
        [sys.executable, "-c", code], env=nnunet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = [part.strip().splitlines()[-1] for part in result.stdout.split("STATUS 1") if part.strip()]
    assert len(said) == len(BAD_INPUT), result.stdout
    for line, message in zip(said, BAD_INPUT.values()):
        assert line.startswith("nnunet_mamba search: error: ") and message in line
    assert (supernet / "slicing.json").read_bytes() == before


def test_a_slicing_of_another_network_is_refused(nnunet, searched):
    file = fold(nnunet) / "slicing.json"
    whole = file.read_text()
    try:
        file.write_text(json.dumps({"slicing": searched["slicing"][:-1]}))
        said = run(
            nnunet, "nnUNetv2_train", "8", "2d", "0", "-tr", "SliceMambaTrainer_5epochs", "-device", "cpu", fails=True
        )
    finally:
        file.write_text(whole)
    assert "slicing.json: got a slicing for 5 blocks, wanted 6: it is for a network of another size." in said
