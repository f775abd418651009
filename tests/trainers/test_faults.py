"""What goes wrong around a training: odd images and folds, a dead worker, a full disk, a folder without access."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import tiny_nnunet
from nnunet_mamba import catalogue, trainers
from nnunet_mamba.trainers import one_training
from nnunet_mamba.trainers.robust_trainer import RobustTrainer


class ShortTrainer(trainers.nnUNetTrainerASFM):
    """Two epochs of three iterations on a tiny U-Net."""

    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 2, 3, 2
        self.save_every = 1


def test_every_trainer_is_a_robust_one():
    assert all(issubclass(getattr(trainers, entry.trainer), RobustTrainer) for entry in catalogue.entries())


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """Makes a data set of the cases and splits given, a trainer on it, and the variables for a process of its own."""

    def prepare(cases=None, splits=None, **settings):
        cases = cases or tiny_nnunet.discs(2)
        splits = splits or [{"train": ["disc0"], "val": ["disc1"]}] * 2
        environment = tiny_nnunet.write(tmp_path, cases, splits, **settings) | {"nnUNet_n_proc_DA": "0"}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        np.random.seed(0)
        torch.manual_seed(0)
        return environment

    return prepare


def changed(index, image):
    """Six cases with a disc; case `index` gets another image, and its labels are cropped to that image's size."""
    cases = tiny_nnunet.discs(6)
    labels = cases[f"disc{index}"][1][:, :, : image.shape[0], : image.shape[1]]
    return cases | {f"disc{index}": (image[None, None].astype(np.float32), labels)}


ODD_IMAGES = {
    "NaN": np.where(np.arange(40 * 36).reshape(40, 36) == 700, np.nan, 100.0),
    "smaller than the patch": np.random.default_rng(0).normal(size=(20, 13)),
    "constant": np.full((40, 36), 12345.678),
    "empty": np.zeros((40, 36)),
}


@pytest.mark.parametrize("kind", ODD_IMAGES)
def test_a_training_survives_an_odd_image(prepared, capsys, kind):
    names = [f"disc{index}" for index in range(6)]
    environment = prepared(changed(0, ODD_IMAGES[kind]), [{"train": names[:5], "val": [names[0], names[5]]}])
    trainer = tiny_nnunet.trainer(ShortTrainer, environment)
    trainer.run_training()
    assert_whole(trainer)
    case = np.asarray(trainer.dataset_class(trainer.preprocessed_dataset_folder, ["disc0"]).load_case("disc0")[0][:])
    assert np.isnan(case).all() == (kind == "NaN")  # z-score spreads it over the whole image
    assert ("batches were left out of training" in capsys.readouterr().out) == (kind == "NaN")


def test_a_fold_with_one_case(prepared):
    environment = prepared(splits=[{"train": ["disc0"], "val": ["disc0"]}])
    trainer = tiny_nnunet.trainer(ShortTrainer, environment)
    trainer.run_training()
    assert_whole(trainer)


def test_a_label_that_no_case_of_the_fold_has(prepared):
    environment = prepared(labels=("background", "disc", "missing"))
    trainer = tiny_nnunet.trainer(ShortTrainer, environment)
    trainer.run_training()
    assert_whole(trainer)
    assert len(trainer.logger.get_value("dice_per_class_or_region", step=-1)) == 2


def assert_whole(trainer):
    """The final checkpoint holds finite weights and the log finite losses, of both epochs."""
    checkpoint = torch.load(Path(trainer.output_folder) / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["current_epoch"] == 2
    assert all(weight.isfinite().all() for weight in checkpoint["network_weights"].values())
    assert np.isfinite(checkpoint["logging"]["train_losses"]).all() and len(checkpoint["logging"]["train_losses"]) == 2


@pytest.mark.parametrize(
    ("dice", "average"),
    [
        ([0.5, None, 0.7], [0.5, 0.5, 0.52]),
        ([None, None, 0.7, 0.7], [np.nan, np.nan, 0.7, 0.7]),
        ([0.5, 0.7], [0.5, 0.52]),
    ],
    ids=["gap", "late", "always"],
)
def test_epochs_without_any_dice(prepared, dice, average):
    """0 / 0 if no patch holds or is given a label: the average goes on, and so does the search for the best."""
    trainer = tiny_nnunet.trainer(ShortTrainer, prepared())
    trainer.initialize()
    trainer.logger.plot_progress_png = lambda folder: None
    for value in dice:
        counts = (0, 0, 0) if value is None else (value, 1 - value, 1 - value)
        hits, wrong, missed = (np.array([count]) for count in counts)
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        trainer.on_train_epoch_end([{"loss": np.float32(1)}])
        trainer.on_validation_epoch_end([{"tp_hard": hits, "fp_hard": wrong, "fn_hard": missed, "loss": np.float32(1)}])
        trainer.on_epoch_end()
    np.testing.assert_allclose(trainer.logger.get_value("ema_fg_dice", step=None), average, atol=1e-9)
    assert trainer._best_ema == pytest.approx(np.nanmax(average))


def test_a_data_worker_that_is_killed_ends_the_training(prepared):
    """With an error, soon, and with the checkpoint of the epoch before."""
    environment = prepared() | {"nnUNet_n_proc_DA": "1"}
    code = """
import os, signal
from helpers import tiny_nnunet
from test_faults import ShortTrainer

class Killing(ShortTrainer):
    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        if self.current_epoch == 1:
            self.num_iterations_per_epoch = 1000  # more than are in the queues
            os.kill(self.dataloader_train._processes[0].pid, signal.SIGKILL)

tiny_nnunet.trainer(Killing, os.environ).run_training()
"""
    result = subprocess.run(python(code), env=variables(environment), capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert "One or more background workers are no longer alive" in result.stderr
    checkpoint = torch.load(folder_of(environment, "Killing") / "checkpoint_latest.pth", weights_only=False)
    assert checkpoint["current_epoch"] == 1


def python(code):
    return [sys.executable, "-c", code]


def variables(environment):
    """For a process that imports what these tests import."""
    path = os.pathsep.join(map(str, (Path(__file__).parents[1], Path(__file__).parent)))
    return os.environ | environment | {"PYTHONPATH": path}


def folder_of(environment, trainer, fold=0):
    return Path(environment["nnUNet_results"]) / tiny_nnunet.NAME / f"{trainer}__nnUNetPlans__2d" / f"fold_{fold}"


@pytest.mark.parametrize("there", [True, False], ids=["a checkpoint before", "none"])
def test_a_disk_that_is_full_leaves_the_checkpoint_before(prepared, there):
    trainer = tiny_nnunet.trainer(ShortTrainer, prepared())
    trainer.initialize()
    file = Path(trainer.output_folder) / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(file))
    before = file.read_bytes()
    if not there:
        file.unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))  # Python turns the signal into an error
    try:
        with pytest.raises(
            OSError, match="when writing this checkpoint.*unharmed" if there else "wanted space.*Free space"
        ):
            trainer.save_checkpoint(str(file))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in Path(trainer.output_folder).glob("*.pth*")] == ["checkpoint_latest.pth"] * there
    if there:
        assert file.read_bytes() == before
        trainer.load_checkpoint(str(file))


def test_a_checkpoint_left_unfinished_by_a_killed_training_goes(prepared):
    trainer = tiny_nnunet.trainer(ShortTrainer, prepared())
    trainer.initialize()
    folder = Path(trainer.output_folder)
    (folder / "checkpoint_latest.pth.4711.unfinished").write_bytes(b"half")
    trainer.save_checkpoint(str(folder / "checkpoint_latest.pth"))
    assert [path.name for path in folder.glob("*.pth*")] == ["checkpoint_latest.pth"]


def test_a_checkpoint_can_be_switched_off(prepared):
    trainer = tiny_nnunet.trainer(ShortTrainer, prepared())
    trainer.initialize()
    trainer.disable_checkpointing = True
    trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_latest.pth"))
    assert not list(Path(trainer.output_folder).glob("*.pth*"))


@pytest.mark.parametrize("obstacle", ["read-only", "a file in the way"])
def test_results_that_cannot_be_written(prepared, tmp_path, monkeypatch, obstacle):
    environment = prepared()
    results = tmp_path / "results"
    if obstacle == "read-only":
        results.mkdir(mode=0o500)
    else:
        results.touch()
    plans = tiny_nnunet.plans() | {"continue_training": False}
    description = json.loads((Path(environment["nnUNet_preprocessed"]) / tiny_nnunet.NAME / "dataset.json").read_text())
    user = os.geteuid()
    try:
        if user == 0:  # who may write anywhere
            tmp_path.chmod(0o755)
            os.seteuid(65534)
        with pytest.raises(OSError, match="wanted a writable folder. Point nnUNet_results"):
            ShortTrainer(plans, "2d", 0, description, torch.device("cpu"))
    finally:
        os.seteuid(user)
    assert obstacle != "read-only" or not list(results.iterdir())


def test_one_training_per_folder(prepared):
    """Until its process ends, killed or not, and whatever it forked lives on."""
    environment = prepared()
    code = """
import os, sys, time
from helpers import tiny_nnunet
from test_faults import ShortTrainer
trainer = tiny_nnunet.trainer(ShortTrainer, os.environ)
worker = os.fork()
if worker:
    print('READY', worker, flush=True)
time.sleep(600)
"""
    first = subprocess.Popen(python(code), env=variables(environment), stdout=subprocess.PIPE, text=True)
    worker = int(next(line for line in first.stdout if line.startswith("READY")).split()[1])
    try:
        folder = folder_of(environment, "ShortTrainer")
        before = sorted(folder.iterdir())
        with pytest.raises(RuntimeError, match=f"another process trains or validates in .process {first.pid} on"):
            tiny_nnunet.trainer(ShortTrainer, environment)
        assert sorted(folder.iterdir()) == before
        tiny_nnunet.trainer(ShortTrainer, environment, fold=1)
        first.kill()
        first.wait()
        tiny_nnunet.trainer(ShortTrainer, environment)
    finally:
        first.kill()
        os.kill(worker, signal.SIGKILL)
        first.stdout.close()


def test_the_folder_is_the_one_that_nnunet_writes_to(prepared):
    trainer = tiny_nnunet.trainer(ShortTrainer, prepared())
    plans = tiny_nnunet.plans()
    assert one_training.results_folder("ShortTrainer", plans, "2d", 0) == trainer.output_folder
    assert (Path(trainer.output_folder) / one_training.LOCK).read_text().startswith(f"process {os.getpid()} on ")


def test_locks_where_there_is_no_fcntl(tmp_path, monkeypatch):
    import filelock  # noqa: F401, before fcntl is hidden

    monkeypatch.setitem(sys.modules, "fcntl", None)
    lock = one_training._lock(str(tmp_path / "lock"))
    with pytest.raises(BlockingIOError):
        one_training._lock(str(tmp_path / "lock"))
    del lock
    one_training._lock(str(tmp_path / "lock"))
