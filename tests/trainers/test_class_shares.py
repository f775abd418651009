"""A new training starts with the classes' shares of the first batch as its guess; one that goes on does not."""

import pytest
import torch

from helpers.trainer_steps import make_batch, make_trainer

EXHAUSTIVE = [pytest.param(scenario, marks=pytest.mark.exhaustive) for scenario in ("regions", "ignore")]


@pytest.fixture
def make(scenarios, tmp_path):
    def trainer(scenario, name="SliceMambaTrainer"):
        folder = scenarios.preprocessed / scenarios.planned(scenario)
        trainer = make_trainer(name, folder, tmp_path)
        trainer.initialize()
        trainer.on_train_epoch_start()
        return trainer

    return trainer


def biases(trainer):
    return [
        value.detach().clone()
        for name, value in trainer.bare_network.named_parameters()
        if ".seg_layers." in name and name.endswith(".bias")
    ]


def shares(scenario, target):
    """Counted in another way: label by label, region by region, over the pixels that are not to be ignored."""
    if "regions" in scenario:
        counted = target[:, 2] == 0 if "ignore" in scenario else torch.ones_like(target[:, 0], dtype=torch.bool)
        return torch.stack([target[:, region][counted].mean() for region in range(2)])
    values = target[target != 3]  # only there if it is to be ignored
    return torch.stack([(values == label).float().mean() for label in range(3)])


@pytest.mark.parametrize("scenario", ["labels", "regions and ignore", *EXHAUSTIVE])
def test_the_first_guess_is_the_shares(make, scenario):
    trainer = make(scenario)
    batch = make_batch(trainer, 2)
    trainer._start_with(batch["target"])
    (bias,) = biases(trainer)
    guess = bias.sigmoid() if "regions" in scenario else bias.softmax(0)
    torch.testing.assert_close(guess, shares(scenario, batch["target"]))


@pytest.mark.parametrize(
    ("name", "starts"), [("SliceMambaTrainer", True), ("DermoMambaTrainer", True), ("DAMambaTrainer", False)]
)
def test_only_the_first_step_of_a_new_training_sets_it(make, tmp_path, monkeypatch, name, starts):
    trainer = make("labels", name)
    monkeypatch.setattr(trainer.optimizer, "step", lambda *args, **kwargs: None)  # nothing else changes weights
    before = biases(trainer)
    batch = make_batch(trainer, 2)
    trainer.train_step(batch)
    first = biases(trainer)
    assert all(torch.equal(one, other) for one, other in zip(before, first)) != starts
    rare = batch | {"target": torch.zeros_like(batch["target"])} if starts else batch
    trainer.train_step(rare)
    assert all(torch.equal(one, other) for one, other in zip(first, biases(trainer)))
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pth"))
    later = make("labels", name)
    later.load_checkpoint(str(tmp_path / "checkpoint.pth"))
    monkeypatch.setattr(later.optimizer, "step", lambda *args, **kwargs: None)
    later.train_step(rare)
    assert all(torch.equal(one, other) for one, other in zip(first, biases(later)))


@pytest.mark.parametrize("scenario", ["labels", "regions and ignore"])
def test_what_the_first_batch_lacks_still_gets_a_finite_guess(make, scenario):
    trainer = make(scenario)
    target = torch.zeros_like(make_batch(trainer, 2)["target"])
    trainer._start_with(target)
    (bias,) = biases(trainer)
    guess = bias.sigmoid() if "regions" in scenario else bias.softmax(0)[1:]
    torch.testing.assert_close(guess, torch.full((2,), 1e-4), rtol=1e-3, atol=0)
    if "ignore" in scenario:
        target[:, 2] = 1  # nothing counts
        trainer._start_with(target)
        assert biases(trainer)[0].isfinite().all()


def test_a_derived_trainer_switches_it_off(make, monkeypatch):
    trainer = make("labels")
    monkeypatch.setattr(type(trainer), "starts_with_class_shares", False)
    trainer = make("labels")
    monkeypatch.setattr(trainer.optimizer, "step", lambda *args, **kwargs: None)
    before = biases(trainer)
    trainer.train_step(make_batch(trainer, 2))
    assert all(torch.equal(one, other) for one, other in zip(before, biases(trainer)))
