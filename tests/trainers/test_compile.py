"""torch.compile, nnU-Net's default on CUDA: each network is one graph in a training step, checkpoints do not change."""

from functools import partial
from unittest import mock

import pytest
import torch

from helpers.trainer_steps import make_batch, make_trainer
from nnunet_mamba import catalogue

IN_ONE_GRAPH = partial(torch.compile, backend="aot_eager", fullgraph=True)


@pytest.fixture
def compiled(monkeypatch):
    """On a CPU nnU-Net never compiles: here it does, and a graph break is an error."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    monkeypatch.setattr(nnUNetTrainer, "_do_i_compile", lambda self: True)
    monkeypatch.setattr(torch, "compile", IN_ONE_GRAPH)
    yield torch._dynamo.utils.counters
    torch._dynamo.reset()


def first_step(trainer):
    torch.manual_seed(0)
    trainer.initialize()
    trainer.on_train_epoch_start()
    return trainer.train_step(make_batch(trainer, 2))["loss"]


FIRST, *OTHERS = (entry.trainer for entry in catalogue.NETWORKS if not entry.finds)


@pytest.mark.parametrize("name", [FIRST, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in OTHERS)])
def test_step_is_one_graph(scenarios, tmp_path, compiled, name):
    make = partial(make_trainer, name, scenarios.preprocessed / scenarios.planned("labels"), tmp_path)
    trainer = make()
    loss = first_step(trainer)
    assert isinstance(trainer.network, torch._dynamo.OptimizedModule)
    assert not compiled["graph_break"] and compiled["stats"]["unique_graphs"] >= 1

    with mock.patch.object(type(trainer), "_do_i_compile", lambda self: False):
        eager = make()
        torch.testing.assert_close(torch.as_tensor(loss), torch.as_tensor(first_step(eager)), rtol=1e-3, atol=1e-4)
    trainer.save_checkpoint(str(tmp_path / "compiled.pth"))
    eager.load_checkpoint(str(tmp_path / "compiled.pth"))
    weights = trainer.network._orig_mod.state_dict()
    for name, tensor in eager.network.state_dict().items():
        torch.testing.assert_close(tensor, weights[name], rtol=0, atol=0)


@pytest.mark.parametrize("name", [entry.trainer for entry in catalogue.NETWORKS if entry.finds])
def test_a_supernet_is_not_compiled(scenarios, tmp_path, compiled, name):
    trainer = make_trainer(name, scenarios.preprocessed / scenarios.planned("labels"), tmp_path)
    first_step(trainer)
    assert not isinstance(trainer.network, torch._dynamo.OptimizedModule)
