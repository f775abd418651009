"""nnU-Net's conventions for trainers: any number of epochs by name, every hyper-parameter an attribute; 3-D refused."""

import pytest

from helpers.trainer_steps import TRAINERS, make_trainer

ATTRIBUTES = {
    "DAMambaTrainer": {"initial_lr": 1e-3, "weight_decay": 0, "lr_factor": 0.5, "lr_patience": 5, "asfm_alpha": 0.25},
    "DermoMambaTrainer": {
        "initial_lr": 1e-4,
        "weight_decay": 0,
        "lr_factor": 0.5,
        "lr_patience": 5,
        "guidance": "pixel",
    },
    "SliceMambaTrainer": {"initial_lr": 1e-3, "weight_decay": 1e-2, "final_lr": 1e-5, "slicing": None},
    "SliceMambaSupernetTrainer": {"initial_lr": 1e-3, "weight_decay": 1e-2, "final_lr": 1e-5, "path_seed": 0},
    "nnUNetTrainerASFM": {"initial_lr": 1e-2, "weight_decay": 3e-5, "asfm_alpha": 0.25},
    "nnUNetTrainerGuideFusion": {"initial_lr": 1e-2, "weight_decay": 3e-5, "guidance": "pixel"},
}
OTHER = {
    "initial_lr": 0.5, "weight_decay": 0.125, "lr_factor": 0.25, "lr_patience": 3, "final_lr": 0.25, "asfm_alpha": 0.75,
    "guidance": "mean", "slicing": ((2, 4),) * 7, "path_seed": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(scenarios):
    return scenarios.preprocessed / scenarios.planned("labels")


@pytest.mark.parametrize("name", TRAINERS)
def test_a_class_for_each_epoch_count(folder, tmp_path, name):
    for suffix, epochs in {"": 1000, "_5epochs": 5, "_50epochs": 50, "_250epochs": 250}.items():
        assert make_trainer(name + suffix, folder, tmp_path).num_epochs == epochs


@pytest.mark.parametrize("name", TRAINERS)
def test_hyper_parameters_are_attributes_that_count(folder, tmp_path, name):
    """A trainer derived from ours sets them behind our `__init__`: nothing may have been made from them before."""
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
        "guidance": getattr(loss, "guidance", None),
        "slicing": getattr(trainer.network, "slicing", None),
        "path_seed": trainer._paths.bit_generator.seed_seq.entropy[0] if hasattr(trainer, "_paths") else None,
    }
    assert {attribute: used[attribute] for attribute in ATTRIBUTES[name]} == {
        attribute: OTHER[attribute] for attribute in ATTRIBUTES[name]
    }
    assert group["lr"] == OTHER["initial_lr"]


@pytest.mark.parametrize("name", [name for name in TRAINERS if "Mamba" in name])
def test_3d_is_refused_before_any_work(folder, tmp_path, name):
    message = rf"{name}: got .* patches of 3 axes, wanted 2: .* nnUNetv2_train DATASET 2d FOLD -tr {name}"
    with pytest.raises(ValueError, match=message):
        make_trainer(name, folder, tmp_path / "results", patch_size=[16, 32, 32])
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", [name for name in TRAINERS if "Mamba" in name])
def test_3d_is_refused_by_the_command(scenarios, folder, name):
    """nnU-Net's plans of a 3-D data set hold 3d_fullres, whether or not that was preprocessed."""
    with pytest.raises(ValueError, match="got the configuration '3d_fullres' with patches of 3 axes"):
        scenarios.command("nnUNetv2_train", folder.name, "3d_fullres", 0, "-tr", name, "-device", "cpu")
    assert not (scenarios.results / folder.name / f"{name}__nnUNetPlans__3d_fullres").exists()
