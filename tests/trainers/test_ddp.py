"""Distributed training: a step of two processes, each with part of the batch, equals one process's with all of it."""

import pytest
import torch

from helpers.trainer_steps import TRAINERS
from helpers.two_processes import run_in_two

# (trainer, scenario, batch_dice, samples of the first process, of the second)
STEPS = [
    *((f"{trainer}_7epochs", "ignore", True, 1, 2) for trainer in TRAINERS),
    ("DAMambaTrainer", "regions and ignore", False, 2, 1),
    ("DermoMambaTrainer", "regions and ignore", False, 2, 1),
    ("nnUNetTrainerGuideFusion by mean", "regions and ignore", True, 2, 1),
    ("nnUNetTrainerGuideFusion by mean", "labels", False, 1, 2),
    ("SliceMambaTrainer", "labels", True, 2, 1),
    ("SliceMambaTrainer", "labels", False, 2, 1),
    ("SliceMambaTrainer", "regions and ignore", True, 1, 2),
    ("SliceMambaTrainer", "regions and ignore", False, 2, 1),
    ("SliceMambaTrainer", "ignore", False, 2, 1),
    ("SliceMambaTrainer with nothing known in the first", "ignore", True, 1, 2),
]


@pytest.fixture(scope="module")
def steps(scenarios, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    cases = [
        {
            "trainer": trainer.split()[0],
            "nothing_known": trainer.endswith("with nothing known in the first"),
            "attributes": {"guidance": "mean"} if trainer.endswith("by mean") else {},
            "folder": str(scenarios.preprocessed / scenarios.planned(scenario)),
            "results": str(folder / "results"),
            "batch_dice": batch_dice,
            "batch": first + second,
            "first": first,
            "more_steps": 3 if "Supernet" in trainer else 1,
        }
        for trainer, scenario, batch_dice, first, second in STEPS
    ]
    return dict(zip(STEPS, run_in_two("helpers.two_processes:trainer_steps", folder, cases)))


@pytest.mark.parametrize("step", STEPS, ids=lambda step: "-".join(map(str, step)))
def test_two_processes_take_the_training_step_of_one(steps, step):
    alone, both = steps[step]["alone"], steps[step]["both"]
    assert both["loss"] == pytest.approx(alone["loss"], rel=1e-4)
    assert set(both["gradients"]) >= set(alone["gradients"])
    largest = max(gradient.abs().max().item() for gradient in alone["gradients"].values())
    assert largest > 1e-4
    for name, gradient in both["gradients"].items():
        # the head of the lowest resolution has weight 0 in one process and next to none in two
        wanted = alone["gradients"].get(name, torch.zeros_like(gradient))
        torch.testing.assert_close(gradient, wanted, rtol=1e-2, atol=1e-4 * largest, msg=name)


@pytest.mark.parametrize("classes", [1, 3])
def test_images_put_together_have_the_same_dice_over_the_batch(classes):
    """Also of labels: there nnU-Net makes the maps of classes itself."""
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    from nnunet_mamba.trainers.joined_batch import JoinedBatch

    dice = MemoryEfficientSoftDiceLoss(torch.sigmoid, batch_dice=True, do_bg=classes == 1, ddp=False)
    logits, mask = torch.randn(3, classes, 8, 6), torch.rand(3, 1, 8, 6) < 0.7
    target = torch.randint(0, max(classes, 2), (3, 1, 8, 6)).float()
    torch.testing.assert_close(JoinedBatch(dice)(logits, target, loss_mask=mask), dice(logits, target, loss_mask=mask))
    assert JoinedBatch(dice)(logits, target) != dice(logits, target, loss_mask=mask)
