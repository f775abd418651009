"""What a trainer says of memory before its first step, and when it does not start."""

import json
import shlex
from pathlib import Path

import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from helpers import tiny_nnunet
from nnunet_mamba import catalogue, trainers
from nnunet_mamba.machine_memory import GIB
from nnunet_mamba.planning.budget import budget
from nnunet_mamba.planning.memory import training_bytes
from nnunet_mamba.trainers import fits_memory
from nnunet_mamba.trainers.step_memory import StepMemory, count_step, loaders_bytes

ANY = catalogue.NETWORKS[0]
STEP = StepMemory(peak=8 * GIB, parameters=1000)  # 8 GiB, and 10.43 with what malloc keeps


@pytest.fixture
def started(tmp_path, monkeypatch):
    """What a trainer logs when its training starts with so many GiB free, and whether it started."""
    environment = tiny_nnunet.write(tmp_path, tiny_nnunet.discs(2), [{"train": ["disc0"], "val": ["disc1"]}])
    for name, value in (environment | {fits_memory.IGNORE: "", "nnUNet_n_proc_DA": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: self.print_to_log_file("STARTED"))
    monkeypatch.setattr(fits_memory, "count_step", lambda trainer: STEP)

    def start(free, trainer=ANY.trainer):
        monkeypatch.setattr(fits_memory, "free_ram", lambda: round(free * GIB))
        made = tiny_nnunet.trainer(getattr(trainers, trainer), environment)
        status = 0
        try:
            made.on_train_start()
        except SystemExit as stop:
            status = stop.code
        log = Path(made.log_file).read_text()
        assert ("STARTED" in log) == (status == 0)
        return status, log

    return start


def test_what_fits_is_said_in_one_line(started):
    status, log = started(20)
    assert status == 0
    assert "A training step will take 8.0 to 10.4 GiB of RAM, the data workers 0.0; 20.0 GiB are free (estimated" in log
    assert "fit" not in log.replace("fits", "")


def test_what_may_not_fit_starts_with_a_warning(started):
    status, log = started(9)
    assert status == 0 and "It may not fit" in log
    assert f"nnunet_mamba plan -d 9 --network {ANY.key} --ram 10.5 \n" in log


@pytest.mark.parametrize(
    ("trainer", "command"),
    [
        (ANY.trainer, f"nnunet_mamba plan -d 9 --network {ANY.key} --ram 5.5"),
        (f"{ANY.trainer}_7epochs", f"nnunet_mamba plan -d 9 --network {ANY.key} --ram 5.5"),
        (
            catalogue.network("slicemamba").trainer,
            "nnunet_mamba plan -d 9 --network slicemamba --ram 5.5 --dims 8 16 32 64 --depths 1 1 1 1 "
            "--depths-decoder 1 1 1 1",
        ),
        (
            "nnUNetTrainerASFM",
            "nnUNetv2_plan_experiment -d 9 -gpu_memory_target 2.8 -overwrite_plans_name nnUNetPlans_2.8G",
        ),
    ],
)
def test_what_cannot_fit_does_not_start_and_names_the_commands(started, monkeypatch, trainer, command):
    typed = ["/bin/nnUNetv2_train", "9", "2d", "0", "-tr", trainer, "-device", "cpu"]
    monkeypatch.setattr("sys.argv", typed)
    status, log = started(4, trainer)
    assert status == 1 and "It cannot fit, so this training does not start." in log
    assert f"\n  {command}\n" in log
    assert f"\n  NNUNET_MAMBA_IGNORE_MEMORY=1 nnUNetv2_train {shlex.join(typed[1:])} \n" in log
    monkeypatch.setenv(fits_memory.IGNORE, "1")
    assert started(4, trainer)[0] == 0


def test_plans_by_that_command_fit(started):
    """The planner's step and the trainer's are counted by the same rule, so that nobody is sent round in circles."""
    _, log = started(4)
    ram = float(log.partition("--ram ")[2].split()[0])
    assert budget(ram=ram).for_step <= 4.05  # GiB, with the weights that the trainer holds already


def test_a_count_that_fails_ends_no_training(started, monkeypatch):
    def fails(trainer):
        raise NotImplementedError("no fake kernel\nfor this")

    monkeypatch.setattr(fits_memory, "count_step", fails)
    status, log = started(4)
    assert status == 0 and "The memory of a training step was not counted: no fake kernel \n" in log


def test_a_count_is_kept_for_the_next_fold_and_for_the_same_step_only(started, monkeypatch, tmp_path):
    started(20)
    monkeypatch.setattr(fits_memory, "count_step", lambda trainer: StepMemory(2 * GIB, 1000))
    assert "will take 8.0 to" in started(20)[1]
    file = tmp_path / "preprocessed" / tiny_nnunet.NAME / "nnUNetPlans.json"
    plans = json.loads(file.read_text())
    plans["configurations"]["2d"]["patch_size"] = [64, 32]
    file.write_text(json.dumps(plans))
    assert "will take 2.0 to" in started(20)[1]


@pytest.mark.parametrize(
    ("device", "least", "most"),
    [("cpu", 8 * GIB, 1.3 * 8 * GIB), ("cuda", 4 * GIB, 8 * GIB), ("mps", 8 * GIB, 1.3 * 8 * GIB)],
)
def test_least_and_most_of_a_device(device, least, most):
    assert STEP.between(device) == pytest.approx((least, most), rel=0.005)


def test_a_trainers_step_is_that_of_the_planner(tmp_path, monkeypatch):
    environment = tiny_nnunet.write(tmp_path, tiny_nnunet.discs(2), [{"train": ["disc0"], "val": ["disc1"]}])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    trainer = tiny_nnunet.trainer(getattr(trainers, catalogue.network("slicemamba").trainer), environment)
    trainer.initialize()
    weights = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    sizes = tuple((name, tuple(size)) for name, size in tiny_nnunet.SMALL_SLICEMAMBA.items())
    counted = count_step(trainer)
    assert counted.peak == pytest.approx(training_bytes("slicemamba", 1, 2, (32, 32), 2, sizes), rel=0.02)
    assert counted.parameters == sum(x.numel() for x in trainer.network.parameters())
    assert all((tensor == weights[name]).all() for name, tensor in trainer.network.state_dict().items())
    assert not trainer.optimizer.state


def test_a_step_with_regions_and_an_ignore_label_is_counted_too(scenarios, tmp_path):
    from helpers.trainer_steps import make_trainer

    trainer = make_trainer(
        "nnUNetTrainerASFM", scenarios.preprocessed / scenarios.planned("regions and ignore"), tmp_path
    )
    trainer.initialize()
    assert count_step(trainer).peak > 10_000


def test_data_workers_and_their_batches(tmp_path, monkeypatch):
    """Measured for 8 x 640 x 768 with two workers: 0.5 GiB in shared memory, and 0.6 in the workers."""
    environment = tiny_nnunet.write(
        tmp_path, tiny_nnunet.discs(2), [{"train": ["disc0"], "val": ["disc1"]}], (640, 768)
    )
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    trainer = tiny_nnunet.trainer(trainers.nnUNetTrainerASFM, environment)
    trainer.initialize()
    trainer.batch_size = 8
    for workers, taken in ((0, 0), (2, 1.1)):
        monkeypatch.setenv("nnUNet_n_proc_DA", str(workers))
        assert loaders_bytes(trainer) / GIB == pytest.approx(taken, rel=0.15)
