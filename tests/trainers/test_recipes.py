"""nnU-Net's conventions for trainers: any number of epochs by name, every hyper-parameter an attribute; 3-D refused."""

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from helpers.trainer_steps import TRAINERS, make_batch, make_trainer
from nnunet_mamba import catalogue, trainers

ATTRIBUTES = {
    "DAMambaTrainer": {
        "initial_lr": 1e-3,
        "weight_decay": 0,
        "lr_factor": 0.5,
        "lr_patience": 5,
        "asfm_alpha": 0.25,
        "asfm_index": None,
        "asfm_cross_entropy": None,
    },
    "DermoMambaTrainer": {
        "initial_lr": 1e-4,
        "weight_decay": 0,
        "lr_factor": 0.5,
        "lr_patience": 5,
        "guidance": "pixel",
    },
    "SliceMambaTrainer": {"initial_lr": 1e-3, "weight_decay": 1e-2, "final_lr": 1e-5, "slicing": None},
    "SliceMambaSupernetTrainer": {"initial_lr": 1e-3, "weight_decay": 1e-2, "final_lr": 1e-5, "path_seed": 0},
    "nnUNetTrainerASFM": {
        "initial_lr": 1e-2,
        "weight_decay": 3e-5,
        "asfm_alpha": 0.25,
        "asfm_index": "root",
        "asfm_cross_entropy": 1,
    },
    "nnUNetTrainerGuideFusion": {"initial_lr": 1e-2, "weight_decay": 3e-5, "guidance": "pixel"},
}
TWO_D = [entry.trainer for entry in catalogue.NETWORKS]
OTHER = {
    "initial_lr": 0.5, "weight_decay": 0.125, "lr_factor": 0.25, "lr_patience": 3, "final_lr": 0.25, "asfm_alpha": 0.75,
    "asfm_index": "product", "asfm_cross_entropy": 0.5, "guidance": "mean", "slicing": ((2, 4),) * 7, "path_seed": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(scenarios):
    return scenarios.preprocessed / scenarios.planned("labels")


@pytest.mark.parametrize("name", TRAINERS)
def test_any_number_of_epochs(folder, tmp_path, name):
    for ending, epochs in {"": 1000, "_1epochs": 1, "_37epochs": 37, "_2500epochs": 2500, "_demo": 5}.items():
        assert make_trainer(name + ending, folder, tmp_path).num_epochs == epochs


@pytest.mark.parametrize("name", TRAINERS)
def test_a_derived_trainer_sets_attributes_in_its_class_or_in_init(folder, tmp_path, monkeypatch, name):
    """Also those that nnU-Net sets in `__init__`."""
    base = getattr(trainers, name)

    class Derived(base):
        num_epochs = 3
        initial_lr = 0.5
        weight_decay = 0.125

        def __init__(self, plans, configuration, fold, dataset_json, device):
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.weight_decay = 0.25

    monkeypatch.setattr(trainers, name, Derived)
    trainer = make_trainer(name, folder, tmp_path)
    assert (trainer.num_epochs, trainer.initial_lr, trainer.weight_decay) == (3, 0.5, 0.25)


@pytest.mark.parametrize("scenario", ["labels", "regions and ignore"])
@pytest.mark.parametrize("is_ddp", [False, True], ids=["alone", "distributed"])
@pytest.mark.parametrize("name", [name for name in TRAINERS if hasattr(getattr(trainers, name), "final_lr")])
def test_nnunets_loss_is_as_nnunet_builds_it(scenarios, tmp_path, name, is_ddp, scenario):
    """Its builder needs no trainer, so it has nnU-Net's settings a second time."""
    trainer = make_trainer(name, scenarios.preprocessed / scenarios.planned(scenario), tmp_path)
    trainer.is_ddp = is_ddp
    theirs = nnUNetTrainer._build_loss(trainer)
    labels = trainer.label_manager
    ours = trainer.build_loss(trainer.configuration_manager.batch_dice, labels.ignore_label, labels.has_regions, is_ddp)
    assert settings(ours) == settings(theirs)


def test_three_outputs_of_full_size_are_supervised(folder, tmp_path):
    trainer = make_trainer("DAMambaTrainer", folder, tmp_path)
    trainer.initialize()
    batch = make_batch(trainer, 2)
    outputs = trainer.network(batch["data"])
    assert len(outputs) == 3 and {output.shape[2:] for output in outputs} == {(32, 32)}
    assert trainer._get_deep_supervision_scales() == [[1.0, 1.0]] * 3
    single = [trainer.loss.loss(output, target) for output, target in zip(outputs, batch["target"], strict=True)]
    torch.testing.assert_close(trainer.loss(outputs, batch["target"]), sum(single))


@pytest.mark.parametrize("name", [entry.trainer for entry in catalogue.entries() if entry.loss_class])
def test_our_losses_train_nnunets_own_network(folder, tmp_path, name):
    """At every scale but the coarsest, with nnU-Net's weights."""
    trainer = make_trainer(name, folder, tmp_path)
    trainer.initialize()
    batch = make_batch(trainer, 2)
    outputs, weights = trainer.network(batch["data"]), trainer.loss.weight_factors
    single = [trainer.loss.loss(output, target) for output, target in zip(outputs, batch["target"], strict=True)]
    assert type(trainer.loss.loss).__name__ == f"{name.removeprefix('nnUNetTrainer')}Loss"
    assert sum(weights) == pytest.approx(1) and weights[-1] == 0
    wanted = sum(weight * loss for weight, loss in zip(weights, single, strict=True))
    torch.testing.assert_close(trainer.loss(outputs, batch["target"]), wanted)
    trainer.on_train_epoch_start()
    trainer.train_step(batch)
    assert not getattr(trainer.loss.loss, "_prepared", None)


def settings(module):
    """The plain attributes and types of a module and of its parts."""
    plain = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    return type(module), plain, {name: settings(part) for name, part in module.named_children()}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_hyper_parameters_are_attributes_that_count(folder, tmp_path, name):
    """A trainer derived from ours sets them after our `__init__`: nothing may have been made from them before."""
    trainer = make_trainer(name, folder, tmp_path)
    assert {attribute: getattr(trainer, attribute) for attribute in ATTRIBUTES[name]} == ATTRIBUTES[name]
    for attribute in ATTRIBUTES[name]:
        setattr(trainer, attribute, OTHER[attribute])
    trainer.initialize()
    trainer.on_train_epoch_start()
    (group,) = trainer.optimizer.param_groups
    loss = getattr(trainer.loss, "loss", trainer.loss)
    used = {
        "initial_lr": trainer.lr_scheduler.initial_lr,
        "weight_decay": group["weight_decay"],
        "lr_factor": getattr(trainer.lr_scheduler, "factor", None),
        "lr_patience": getattr(trainer.lr_scheduler, "patience", None),
        "final_lr": getattr(trainer.lr_scheduler, "final_lr", None),
        "asfm_alpha": getattr(loss, "alpha", None),
        "asfm_index": getattr(loss, "index", None),
        "asfm_cross_entropy": getattr(loss, "cross_entropy", None),
        "guidance": getattr(loss, "guidance", None),
        "slicing": getattr(trainer.network, "slicing", None),
        "path_seed": trainer._paths.bit_generator.seed_seq.entropy[0] if hasattr(trainer, "_paths") else None,
    }
    assert {attribute: used[attribute] for attribute in ATTRIBUTES[name]} == {
        attribute: OTHER[attribute] for attribute in ATTRIBUTES[name]
    }
    assert group["lr"] == OTHER["initial_lr"]


@pytest.mark.parametrize("name", TWO_D)
def test_3d_is_refused_before_any_work(folder, tmp_path, name):
    message = rf"{name}: got .* patches of 3 axes, wanted 2: .* nnUNetv2_train DATASET 2d FOLD -tr {name}"
    with pytest.raises(ValueError, match=message):
        make_trainer(name, folder, tmp_path / "results", patch_size=[16, 32, 32])
    assert not (tmp_path / "results").exists()


def test_a_small_patch_is_refused_before_any_work(folder, tmp_path):
    with pytest.raises(ValueError, match=r"DAMambaTrainer: got patch_size \[15, 56\]"):
        make_trainer("DAMambaTrainer", folder, tmp_path / "results", patch_size=[15, 56])
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", TWO_D)
def test_3d_is_refused_by_the_command(scenarios, folder, name):
    """nnU-Net's plans of a 3-D data set hold 3d_fullres, preprocessed or not."""
    with pytest.raises(ValueError, match="got the configuration '3d_fullres' with patches of 3 axes"):
        scenarios.command("nnUNetv2_train", folder.name, "3d_fullres", 0, "-tr", name, "-device", "cpu")
    assert not (scenarios.results / folder.name / f"{name}__nnUNetPlans__3d_fullres").exists()
