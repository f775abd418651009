"""Trainings that are stopped by Ctrl-C, SIGTERM or SIGKILL: what they leave, what they say, and how they go on."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from helpers import tiny_nnunet
from helpers.two_processes import run_in_two
from nnunet_mamba import trainers
from nnunet_mamba.trainers import stop_and_go
from nnunet_mamba.trainers.go_on_command import training_command

SLOW = """
import time
from nnunet_mamba.trainers import nnUNetTrainerASFM

class SlowTrainer(nnUNetTrainerASFM):
    num_epochs, num_iterations_per_epoch, num_val_iterations_per_epoch = 1, 1000, 1

    def train_step(self, batch):
        result = super().train_step(batch)
        print("TAKEN", len(self._losses), flush=True)
        time.sleep(0.05)
        return result
"""
ITERATIONS, VALIDATIONS, EPOCHS = 4, 2, 2


class Interrupted(trainers.nnUNetTrainerASFM):
    """Sends itself the signals `sent`: {(method, how many calls of it before): signal}."""

    num_epochs, num_iterations_per_epoch, num_val_iterations_per_epoch = EPOCHS, ITERATIONS, VALIDATIONS
    save_every = 1
    sent: dict = {}

    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.calls = []

    def _called(self, method):
        self.calls.append(method)
        if number := self.sent.get((method, self.calls.count(method) - 1)):
            signal.raise_signal(number)

    def on_train_start(self):
        self._called("start")
        super().on_train_start()

    def train_step(self, batch):
        self._called("train")
        return super().train_step(batch)

    def validation_step(self, batch):
        self._called("validate")
        return super().validation_step(batch)

    def on_epoch_end(self):
        self._called("end")
        super().on_epoch_end()


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """The variables of a data set of two cases, set here as well; batches are made in this process."""
    written = tiny_nnunet.write(tmp_path, tiny_nnunet.discs(2), [{"train": ["disc0"], "val": ["disc1"]}])
    written |= {"nnUNet_n_proc_DA": "0"}
    for name, value in written.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["/bin/nnUNetv2_train", "9", "2d", "0", "-tr", "Interrupted", "-device", "cpu"])
    # these take longer than the trainings: processes that unpack data and export predictions, and a plot per epoch
    monkeypatch.setattr(nnUNetDatasetBlosc2, "unpack_dataset", lambda *args, **kwargs: None)
    monkeypatch.setattr(MetaLogger, "plot_progress_png", lambda self, folder: None)
    monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", lambda self, npz: self._called("final"))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield written
    assert {number: signal.getsignal(number) for number in handlers} == handlers


def trainer(environment, sent=None):
    made = tiny_nnunet.trainer(Interrupted, environment)
    made.sent = sent or {}
    return made


def run(made):
    made.run_training()
    made.perform_actual_validation()


def checkpoints(made):
    return sorted(path.name for path in Path(made.output_folder).glob("checkpoint*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("phase", "said", "calls_after"),
    [
        (("train", 2), "checkpoint_latest.pth holds 3 of 4 iterations of epoch 0. ", (5, 4)),
        (("train", 7), "checkpoint_latest.pth holds 4 of 4 iterations of epoch 1. ", (0, 2)),
        (("validate", 0), "checkpoint_latest.pth holds 4 of 4 iterations of epoch 0. ", (4, 4)),
        (("end", 0), "checkpoint_latest.pth holds 0 of 4 iterations of epoch 1. ", (4, 2)),
    ],
)
def test_a_training_stops_after_its_step_and_goes_on_with_the_next(
    environment, capsys, number, phase, said, calls_after
):
    stopped = trainer(environment, {phase: number})
    with pytest.raises(SystemExit) as stop:
        run(stopped)
    assert stop.value.code == 128 + number
    assert "checkpoint_final.pth" not in checkpoints(stopped)
    command = "nnUNetv2_train 9 2d 0 -tr Interrupted -device cpu --c"
    log = Path(stopped.log_file).read_text()
    assert f"Stopped by {number.name}. {said}To go on with the next: {command}" in log and log.count("Stopped") == 1
    other = trainer(environment)
    other.load_checkpoint(str(Path(other.output_folder, "checkpoint_latest.pth")))
    assert all(map(torch.equal, stopped.network.state_dict().values(), other.network.state_dict().values()))
    run(other)
    assert (other.calls.count("train"), other.calls.count("validate")) == calls_after
    assert other.num_iterations_per_epoch == ITERATIONS
    logged = torch.load(Path(other.output_folder, "checkpoint_final.pth"), weights_only=False)["logging"]
    assert {len(values) for values in logged.values()} == {EPOCHS} and "unfinished_epoch" not in logged


def test_the_mean_loss_of_an_epoch_is_that_of_all_its_steps(environment):
    stopped = trainer(environment, {("train", 1): signal.SIGTERM})
    with pytest.raises(SystemExit):
        run(stopped)
    before = stopped._losses
    other = trainer(environment)
    other.num_epochs = 1
    other.load_checkpoint(str(Path(other.output_folder, "checkpoint_latest.pth")))
    after, step = [], other.train_step

    def recorded(batch):
        result = step(batch)
        after.append(float(result["loss"]))
        return result

    other.train_step = recorded
    other.run_training()
    assert len(before) == len(after) == 2
    assert other.logger.get_value("train_losses", 0) == pytest.approx(np.mean(before + after), rel=1e-6)


def test_the_last_step_of_all_is_not_taken_twice(environment, capsys):
    """In the last epoch's end and in the final validation there is no step to save."""
    for phase in (("end", EPOCHS - 1), ("final", 0)):
        stopped = trainer(environment, {phase: signal.SIGINT})
        with pytest.raises(SystemExit, match="130"):
            run(stopped)
        assert "checkpoint_final.pth" in checkpoints(stopped) and "checkpoint_latest.pth" not in checkpoints(stopped)
        said = capsys.readouterr().out
        command = "nnUNetv2_train 9 2d 0 -tr Interrupted -device cpu --val"
        assert f"The training is finished, its final validation is not. To validate: {command}" in said


def test_a_second_ctrl_c_stops_at_once_and_harms_no_checkpoint(environment, capsys, monkeypatch):
    stopped = trainer(environment, {("train", ITERATIONS + 1): signal.SIGINT})
    save = torch.save

    def interrupted_save(checkpoint, file):
        save(checkpoint, file)
        if stopped.calls.count("train") == ITERATIONS + 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(torch, "save", interrupted_save)
    with pytest.raises(SystemExit, match="130"):
        run(stopped)
    assert "The last checkpoint is unharmed. To go on from it: nnUNetv2_train 9 " in capsys.readouterr().out
    assert [name for name in checkpoints(stopped) if "best" not in name] == ["checkpoint_latest.pth"]
    other = trainer(environment)
    other.load_checkpoint(str(Path(other.output_folder, "checkpoint_latest.pth")))
    assert other.current_epoch == 1 and not other._kept_losses


def test_a_second_sigterm_does_not_disturb(environment):
    stopped = trainer(environment, {("train", 0): signal.SIGTERM})
    stopped._save_unfinished_epoch = lambda: (signal.raise_signal(signal.SIGTERM), saved.append(1))
    saved = []
    with pytest.raises(SystemExit, match="143"):
        run(stopped)
    assert saved == [1]


def test_before_the_first_step_there_is_nothing_to_save(environment, capsys):
    stopped = trainer(environment, {("start", 0): signal.SIGTERM})
    with pytest.raises(SystemExit, match="143"):
        run(stopped)
    said = capsys.readouterr().out
    assert "There is no checkpoint of this training. To start again: nnUNetv2_train 9 2d 0 -tr Interrupted" in said
    assert checkpoints(stopped) == []


def test_without_checkpoints_nothing_is_promised(environment, capsys):
    stopped = trainer(environment, {("train", 1): signal.SIGINT})
    stopped.disable_checkpointing = True
    with pytest.raises(SystemExit, match="130"):
        run(stopped)
    assert "There is no checkpoint of this training." in capsys.readouterr().out and checkpoints(stopped) == []


def test_a_finished_training_before_is_kept_out_of_the_way_of_c(environment, capsys):
    finished = trainer(environment)
    finished.run_training()
    content = Path(finished.output_folder, "checkpoint_final.pth").read_bytes()
    stopped = trainer(environment, {("train", 1): signal.SIGINT})
    with pytest.raises(SystemExit):
        run(stopped)
    assert "checkpoint_final.pth" not in checkpoints(stopped)
    assert Path(stopped.output_folder, stop_and_go.OLD_FINAL).read_bytes() == content
    assert f"checkpoint_final.pth of a training before is now {stop_and_go.OLD_FINAL}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "flag", "command"),
    [
        ("nnUNetv2_train 9 2d 0 --c -tr T --npz", "--c", "nnUNetv2_train 9 2d 0 -tr T --npz --c"),
        ("nnUNetv2_train 9 2d 0 -tr T -pretrained_weights w.pth -p P", "--c", "nnUNetv2_train 9 2d 0 -tr T -p P --c"),
        ("nnUNetv2_train 9 2d 0 -pretrained=w.pth --val_best", "--val", "nnUNetv2_train 9 2d 0 --val_best --val"),
        ("nnUNetv2_train 9 2d 0 -pretrained_weights w.pth", None, "nnUNetv2_train 9 2d 0 -pretrained_weights w.pth"),
        (
            "python mine.py",
            "--c",
            f"nnUNetv2_train {tiny_nnunet.NAME} 2d 0 -tr Interrupted -p nnUNetPlans -device cpu --c",
        ),
    ],
)
def test_the_command_to_go_on(environment, monkeypatch, argv, flag, command):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/" + argv.split()[0], *argv.split()[1:]])
    assert training_command(trainer(environment), flag) == command


def test_all_processes_of_a_distributed_training_stop_after_the_same_step(scenarios, tmp_path):
    """Or one would wait for the other's gradients for ever. One of them writes the checkpoint."""
    folder = str(scenarios.preprocessed / scenarios.planned("labels"))
    stopped = run_in_two("helpers.two_processes:stop", tmp_path, "nnUNetTrainerASFM", folder, str(tmp_path / "results"))
    assert stopped == {"status": 143, "steps": 2}
    written = [path.parts[-5] for path in (tmp_path / "results").rglob("checkpoint_latest.pth")]
    assert written == ["0"]


def alive(session):
    """Processes of a session: {process: its command}."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, _, _, of_session = rest.split()[:4]
        if int(of_session) == session and state != "Z":
            found[int(folder.name)] = name
    return found


def train_until(command, environment, step, send):
    """Exit status and output of a training after whose `step` `send(process, workers)` was called; all are gone."""
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a background job ignores
    )
    seen = []
    try:
        for line in process.stdout:
            seen.append(line)
            if line == f"TAKEN {step}\n":
                workers = alive(process.pid).keys() - {process.pid}
                assert len(workers) == 3, "".join(seen)  # two to train and one to validate
                send(process.pid, workers)
        status = process.wait(timeout=120)
        deadline = time.monotonic() + 60
        while alive(process.pid) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert alive(process.pid) == {}
        return status, "".join(seen)
    finally:
        process.stdout.close()
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)


def as_a_cluster_and_a_terminal_do(process, workers):
    for worker in workers:
        os.kill(worker, signal.SIGTERM)
    os.killpg(process, signal.SIGINT)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_nnunets_own_command_is_stopped_goes_on_as_it_says_and_is_killed(tmp_path):
    environment = tiny_nnunet.write(tmp_path, tiny_nnunet.discs(2), [{"train": ["disc0"], "val": ["disc1"]}])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "slow_trainer.py").write_text(SLOW)
    environment = os.environ | environment | {"nnUNet_extTrainer": str(tmp_path / "mine"), "nnUNet_n_proc_DA": "2"}
    command = ["nnUNetv2_train", "9", "2d", "0", "-tr", "SlowTrainer", "-device", "cpu"]
    status, said = train_until(command, environment, 3, as_a_cluster_and_a_terminal_do)
    assert status == 130, said
    assert "Traceback" not in said and "no longer alive" not in said, said
    kept, to_go_on = re.search("SIGINT. checkpoint_latest.pth holds (.*) of 1000 .* with the next: (.*)", said).groups()
    *_, printed = (int(line.split()[1]) for line in said.splitlines() if line.startswith("TAKEN"))
    assert int(kept) in (printed, printed + 1)
    assert shlex.split(to_go_on) == [*command, "--c"]
    status, said = train_until(
        shlex.split(to_go_on), environment, int(kept) + 2, lambda process, workers: os.kill(process, signal.SIGKILL)
    )
    assert status == -signal.SIGKILL and f"Going on after {kept} of 1000 iterations" in said
