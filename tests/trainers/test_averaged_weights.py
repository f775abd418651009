"""AveragedWeights: what the average is, when the network holds it, and what checkpoints have of it."""

import pytest
import torch
from torch import nn

from helpers import tiny_nnunet
from nnunet_mamba import trainers
from nnunet_mamba.trainers.averaged_weights import ENTRY, AveragedWeights


class SmallTrainer(trainers.nnUNetTrainerASFM):
    """With a network that keeps running statistics."""

    enable_deep_supervision = False

    @property
    def bare_network(self):
        return self.network

    @staticmethod
    def build_network_architecture(
        plans_manager, configuration_manager, channels, classes, enable_deep_supervision=False
    ):
        return nn.Sequential(nn.Conv2d(channels, 4, 3, 1, 1), nn.BatchNorm2d(4), nn.Conv2d(4, classes, 1))


class AveragedTrainer(AveragedWeights, SmallTrainer):
    pass


@pytest.fixture
def make(environment):
    def trainer(kind=AveragedTrainer, **attributes):
        torch.manual_seed(0)
        trainer = tiny_nnunet.trainer(kind, environment)
        vars(trainer).update(attributes)
        trainer.initialize()
        trainer.on_train_epoch_start()
        return trainer

    return trainer


def step(trainer, seed, pixel=0.0):
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(2, 1, 32, 32, generator=generator)
    data[0, 0, 5, 7] += pixel
    trainer.train_step({"data": data, "target": torch.randint(0, 2, (2, 1, 32, 32), generator=generator)})


def weights(trainer):
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def averaged(trainer):
    with trainer._average():
        return weights(trainer)


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("decay", [0.999, 0.5])
def test_the_average_is_what_the_formula_says_and_changes_no_step(make, decay):
    trainer, plain = make(average_decay=decay), make(SmallTrainer)
    wanted = None
    for number in range(12):
        step(trainer, number)
        step(plain, number)
        assert same(weights(trainer), weights(plain))
        now = weights(plain)
        share = max(1 - decay, 9 / (number + 10))
        wanted = now if wanted is None else {name: (1 - share) * wanted[name] + share * now[name] for name in now}
    found = averaged(trainer)
    for name, value in wanted.items():
        whole = name.endswith("num_batches_tracked")
        torch.testing.assert_close(found[name], now[name] if whole else value, msg=name)
    assert not torch.allclose(found["0.weight"], now["0.weight"])
    assert not torch.allclose(found["1.running_var"], now["1.running_var"])


def test_the_network_holds_the_average_while_it_is_validated(make):
    trainer = make()
    for number in range(5):
        step(trainer, number)
    in_training, average = weights(trainer), averaged(trainer)
    trainer.on_validation_epoch_start()
    assert same(weights(trainer), average)
    outputs = [trainer.validation_step({"data": torch.randn(2, 1, 32, 32), "target": torch.ones(2, 1, 32, 32)})]
    trainer.on_validation_epoch_end(outputs)
    assert same(weights(trainer), in_training)


def test_a_skipped_step_counts_for_nothing(make):
    trainer = make()
    for number in range(3):
        step(trainer, number)
    before = averaged(trainer)
    step(trainer, 3, pixel=float("nan"))
    assert same(averaged(trainer), before)
    assert int(trainer._other.n_averaged) == 3


@pytest.mark.parametrize("in_validation", [False, True])
def test_a_checkpoint_holds_both_and_goes_on_as_if_never_stopped(make, tmp_path, in_validation):
    trainer, other = make(), make()
    for number in range(4):
        step(trainer, number)
    in_training, average = weights(trainer), averaged(trainer)
    if in_validation:  # where a signal may stop it
        trainer.on_validation_epoch_start()
    file = str(tmp_path / "checkpoint.pth")
    trainer.save_checkpoint(file)
    assert same(weights(trainer), average if in_validation else in_training)
    saved = torch.load(file, weights_only=False)
    assert same(saved["network_weights"], average)
    assert same(saved["optimizer_state"][ENTRY]["weights"], in_training)

    other.load_checkpoint(file)
    assert same(weights(other), in_training)
    assert same(averaged(other), average)
    if in_validation:
        trainer.on_validation_epoch_end(
            [trainer.validation_step({"data": torch.randn(2, 1, 32, 32), "target": torch.ones(2, 1, 32, 32)})]
        )
        trainer.network.train()
    for number in range(4, 7):
        step(trainer, number)
        step(other, number)
    assert same(weights(trainer), weights(other))
    assert same(averaged(trainer), averaged(other))


def test_checkpoints_of_trainings_with_and_without_an_average(make, tmp_path):
    """Each loads the other's. Without an entry the average starts anew; a plain training goes on from the average."""
    plain, trainer = make(SmallTrainer), make()
    file = str(tmp_path / "checkpoint.pth")
    for number in range(3):
        step(plain, number)
    plain.save_checkpoint(file)
    trainer.load_checkpoint(file)
    assert same(weights(trainer), weights(plain))
    assert same(averaged(trainer), weights(plain))
    for number in range(3):
        step(trainer, number)
    trainer.save_checkpoint(file)
    plain.load_checkpoint(file)
    assert same(weights(plain), averaged(trainer))
    step(plain, 3)
