"""Stop and go on: a trainer that loads a checkpoint takes the same next step as the one that saved it."""

import pytest
import torch

from helpers.trainer_steps import TRAINERS, make_batch, make_trainer
from nnunet_mamba.trainers.plateau import PlateauOfHistory


def flat(state):
    """All tensors and numbers of nested dicts and lists, with their paths."""
    if isinstance(state, dict):
        return {f"{key}.{path}": value for key, part in state.items() for path, value in flat(part).items()}
    if isinstance(state, list):
        return flat(dict(enumerate(state)))
    return {"": state}


def assert_same(one, other):
    one, other = flat(one), flat(other)
    assert one.keys() == other.keys()
    for path, value in one.items():
        same = torch.equal(value, other[path]) if isinstance(value, torch.Tensor) else value == other[path]
        assert same, path


@pytest.mark.parametrize("name", TRAINERS)
def test_loading_does_not_change_the_next_training_step(scenarios, tmp_path, name):
    folder = scenarios.preprocessed / scenarios.planned("labels")

    def make():
        trainer = make_trainer(name, folder, tmp_path)
        trainer.num_epochs = 20
        trainer.initialize()
        trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=2.0**9, growth_interval=2)
        return trainer

    def step(trainer):
        torch.manual_seed(0)  # of stochastic depth
        trainer.on_train_epoch_start()
        return [float(trainer.train_step(make_batch(trainer, 2, seed))["loss"]) for seed in (3, 4)]

    trainer, other = make(), make()
    trainer.current_epoch = 8
    for epoch in range(8):  # without a better Dice, so that the papers' plateau is reached
        for key, value in {"mean_fg_dice": 0.5, "ema_fg_dice": 0.5, "train_losses": 1.0, "val_losses": 1.0}.items():
            trainer.logger.log(key, value, epoch)
        trainer.logger.log("lrs", trainer.optimizer.param_groups[0]["lr"], epoch)
    step(trainer)
    assert trainer.grad_scaler.get_scale() == 2.0**10
    trainer.current_epoch = 7  # nnU-Net stores the number of the next epoch
    trainer.logger.local_logger.my_fantastic_logging["lrs"].pop()  # the rate of the unfinished epoch
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    trainer.current_epoch = 8
    other.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    assert other.current_epoch == 8
    assert_same(other.optimizer.state_dict(), trainer.optimizer.state_dict())
    assert_same(other.grad_scaler.state_dict(), trainer.grad_scaler.state_dict())
    assert_same(other.logger.get_checkpoint(), trainer.logger.get_checkpoint())
    assert step(other) == step(trainer)
    assert_same(other.network.state_dict(), trainer.network.state_dict())
    rates = [each.optimizer.param_groups[0]["lr"] for each in (trainer, other)]
    assert rates[0] == rates[1] < trainer.initial_lr
    if isinstance(trainer.lr_scheduler, PlateauOfHistory):
        assert rates[0] == pytest.approx(trainer.initial_lr / 2)


def test_a_long_epoch_is_saved_and_reported_on_its_way(scenarios, tmp_path, capsys):
    """From such a checkpoint the weights and the epoch go on."""
    folder = scenarios.preprocessed / scenarios.planned("labels")

    def make():
        trainer = make_trainer("DAMambaTrainer", folder, tmp_path)
        trainer.initialize()
        return trainer

    trainer, other = make(), make()
    trainer.current_epoch = 2
    trainer.logger.local_logger.my_fantastic_logging |= {"lrs": [1e-3, 1e-3], "mean_fg_dice": [0.5, 0.5]}
    trainer.on_train_epoch_start()
    trainer.seconds_between_checkpoints = trainer.seconds_between_progress = -1
    trainer.num_iterations_per_epoch = 10
    trainer.train_step(make_batch(trainer, 2))
    other.load_checkpoint(f"{trainer.output_folder}/checkpoint_latest.pth")
    assert_same(other.network.state_dict(), trainer.network.state_dict())
    assert trainer.current_epoch == other.current_epoch == 2
    assert other.logger.get_value("lrs", step=None) == [1e-3, 1e-3]
    said = capsys.readouterr().out
    assert "iteration 1 of 10, loss " in said and " left in this epoch" in said


@pytest.mark.parametrize("name", TRAINERS)
def test_pretrained_weights_transfer_to_other_classes(scenarios, tmp_path, name):
    """nnUNetv2_train -pretrained_weights takes all but the heads, here of three classes for two regions."""
    from nnunetv2.run.load_pretrained_weights import load_pretrained_weights

    trainer, other = (
        make_trainer(name, scenarios.preprocessed / scenarios.planned(scenario), tmp_path)
        for scenario in ("labels", "regions and ignore")
    )
    trainer.initialize()
    other.initialize()
    trainer.save_checkpoint(str(tmp_path / "pretrained.pth"))
    load_pretrained_weights(other.network, str(tmp_path / "pretrained.pth"))
    wanted = trainer.network.state_dict()
    for key, tensor in other.network.state_dict().items():
        if "seg_layers" not in key:
            assert torch.equal(tensor, wanted[key]), key
    other.on_train_epoch_start()
    assert torch.isfinite(torch.as_tensor(other.train_step(make_batch(other, 2))["loss"]))
