"""A batch that is not finite leaves no trace in weights, statistics, optimiser or means, only a line in the log."""

import copy
import os

import numpy as np
import pytest
import torch

from helpers import tiny_nnunet, two_processes
from helpers.trainer_steps import TRAINERS
from nnunet_mamba import trainers
from nnunet_mamba.losses import ASFMLoss, GuideFusionLoss

GOOD, NAN, INFINITE = 0.0, float("nan"), float("inf")


@pytest.fixture
def make(environment):
    def trainer(name, scaler=False):
        torch.manual_seed(0)
        trainer = tiny_nnunet.trainer(getattr(trainers, name), environment)
        trainer.initialize()
        if scaler:
            trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        trainer.on_train_epoch_start()
        return trainer

    return trainer


class SmallTrainer(trainers.nnUNetTrainerASFM):
    """With a network that keeps running statistics and is compiled in a moment."""

    @staticmethod
    def build_network_architecture(
        plans_manager, configuration_manager, channels, classes, enable_deep_supervision=True
    ):
        return torch.nn.Sequential(
            torch.nn.Conv2d(channels, 4, 3, 1, 1), torch.nn.BatchNorm2d(4), torch.nn.Conv2d(4, classes, 1)
        )

    @classmethod
    def made(cls, environment):
        torch.manual_seed(0)
        trainer = tiny_nnunet.trainer(cls, environment)
        trainer.enable_deep_supervision = False
        trainer.initialize()
        trainer.on_train_epoch_start()
        return trainer


def batch(trainer, pixel=GOOD):
    """Two random patches; `pixel` is added to one pixel of the first."""
    data = torch.randn(2, 1, 32, 32)
    data[0, 0, 5, 7] += pixel
    scales = trainer._get_deep_supervision_scales()
    sizes = [[round(32 * factor) for factor in scale] for scale in scales] if scales else [(32, 32)]
    targets = [torch.randint(0, 2, (2, 1, *size)) for size in sizes]
    return {"data": data, "target": targets if scales else targets[0]}


def state(trainer):
    return copy.deepcopy([trainer.network.state_dict(), trainer.optimizer.state_dict()["state"]])


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return all(map(same, one, other))
    return one == other


@pytest.mark.parametrize("scaler", [False, True], ids=["no scaler", "scaler"])
@pytest.mark.parametrize("pixel", [NAN, INFINITE], ids=str)
@pytest.mark.parametrize("name", TRAINERS)
def test_a_bad_image_leaves_no_trace(make, name, pixel, scaler, capsys):
    trainer = make(name, scaler)
    outputs = [trainer.train_step(batch(trainer))]
    before = state(trainer)
    outputs += [trainer.train_step(batch(trainer, pixel)) for _ in range(3)]
    assert not np.isfinite(outputs[-1]["loss"])
    assert same(before, state(trainer))
    if scaler:
        assert trainer.grad_scaler.get_scale() == 1024  # it is not the scale's fault
    outputs.append(trainer.train_step(batch(trainer)))
    assert not same(before, state(trainer))
    trainer.on_train_epoch_end(outputs)
    logged = trainer.logger.get_value("train_losses", step=-1)
    assert logged == pytest.approx((outputs[0]["loss"] + outputs[-1]["loss"]) / 2)
    assert "3 of 5 batches were left out of training" in capsys.readouterr().out


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_any_optimiser_is_left_as_it_was(make, optimizer):
    trainer = make("nnUNetTrainerASFM")
    momentum = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
    trainer.optimizer = optimizer(trainer.network.parameters(), 1e-3, weight_decay=1e-2, **momentum)
    trainer.optimizer.register_step_pre_hook(trainer._before_step)
    trainer.train_step(batch(trainer))
    before = state(trainer)
    trainer.train_step(batch(trainer, NAN))
    assert same(before, state(trainer))


@pytest.mark.parametrize("scaler", [False, True], ids=["no scaler", "scaler"])
def test_only_gradients_overflow(make, scaler):
    """A scaler's business: it lowers its scale. Without one, the step is left out all the same."""
    trainer = make("DermoMambaTrainer", scaler)
    trainer.train_step(batch(trainer))
    before = state(trainer)
    weight = next(iter(trainer.network.parameters()))
    handle = weight.register_hook(lambda gradient: gradient * INFINITE)
    loss = trainer.train_step(batch(trainer))["loss"]
    handle.remove()
    assert np.isfinite(loss) and trainer._left_out == 1
    assert same(before, state(trainer))
    assert not scaler or trainer.grad_scaler.get_scale() == 512


def test_an_epoch_of_nothing_else_ends_the_training(make):
    trainer = make("nnUNetTrainerGuideFusion")
    outputs = [trainer.train_step(batch(trainer, NAN)) for _ in range(2)]
    with pytest.raises(RuntimeError, match="got no finite loss in the 2 batches of epoch 0.*verify_dataset_integrity"):
        trainer.on_train_epoch_end(outputs)


def test_means_of_validation_are_over_finite_losses(make, capsys):
    trainer = make("nnUNetTrainerASFM")
    with torch.no_grad():
        trainer.on_validation_epoch_start()
        outputs = [trainer.validation_step(batch(trainer, pixel)) for pixel in (GOOD, NAN, GOOD)]
    trainer.on_validation_epoch_end(outputs)
    logged = trainer.logger.get_value("val_losses", step=-1)
    assert logged == pytest.approx((outputs[0]["loss"] + outputs[2]["loss"]) / 2)
    assert "1 of 3 validation batches had a loss that was not finite" in capsys.readouterr().out


def test_compiled_networks_too(environment):
    trainer = SmallTrainer.made(environment)
    trainer.network = torch.compile(trainer.network, backend="aot_eager")
    trainer.train_step(batch(trainer))
    before = state(trainer)
    trainer.train_step(batch(trainer, NAN))
    assert trainer._left_out == 1 and same(before, state(trainer))


def test_two_processes_leave_out_the_same_batch(environment, tmp_path):
    """Only one of them has the bad image: both stay as they were, and both keep the scale."""
    torch.multiprocessing.spawn(one_of_two, (environment, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert same(first["weights"], second["weights"])
    assert first["scale"] == second["scale"] == 1024
    assert first["left out"] == second["left out"] == 1
    assert np.isfinite(first["losses"]).all() and len(first["losses"]) == 1


def one_of_two(rank, environment, folder):
    os.environ.update(environment | {"nnUNet_results": f"{folder}/{rank}"})
    trainer = SmallTrainer.made(environment)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    trainer.is_ddp, trainer.local_rank = True, rank
    trainer.network = torch.nn.parallel.DistributedDataParallel(trainer.network)
    trainer.grad_scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    torch.manual_seed(rank)
    outputs = [trainer.train_step(batch(trainer))]
    before = state(trainer)
    outputs.append(trainer.train_step(batch(trainer, NAN if rank else GOOD)))
    assert same(before, state(trainer))
    outputs.append(trainer.train_step(batch(trainer)))
    assert not same(before, state(trainer))
    trainer.on_train_epoch_end(outputs)
    result = {
        "weights": {name: weight.detach() for name, weight in trainer.network.named_parameters()},
        "scale": trainer.grad_scaler.get_scale(),
        "left out": trainer._left_out,
        "losses": [float(loss) for loss in trainer.logger.get_value("train_losses", step=None)],
    }
    torch.save(result, f"{folder}/{rank}.pt")
    two_processes.leave()


@pytest.mark.parametrize(
    "loss", [ASFMLoss(), GuideFusionLoss("pixel"), GuideFusionLoss("mean")], ids=lambda loss: repr(loss)[:12]
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["softmax", "regions"])
def test_losses_of_the_largest_logits(loss, dtype, kind):
    torch.manual_seed(0)
    largest = 6e4 if dtype == torch.float16 else 1e6
    logits = (largest * torch.randn(2, 3, 16, 16).sign()).to(dtype).requires_grad_()
    target = torch.randint(0, 3, (2, 1, 16, 16)) if kind == "softmax" else torch.randint(0, 2, (2, 3, 16, 16))
    with torch.autocast("cpu", dtype=dtype):
        value = loss(logits, target)
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite()
    assert logits.grad.isfinite().all()
