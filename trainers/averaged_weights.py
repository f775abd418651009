"""AveragedWeights: predictions are made with an exponential moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from nnunet_mamba.trainers.finite_steps import FiniteSteps

Tensors = tuple[Tensor, ...] | list[Tensor]
ENTRY = "weights_in_training"  # of a checkpoint's "optimizer_state"


class AveragedWeights(FiniteSteps):
    """A trainer that validates, saves and predicts with an average of its weights over the last steps.

    After step t, counted from 0, the average moves to the weights in training by 9 / (t + 10), later on by
    1 - `average_decay`: it looks back on a ninth of a short training, on 1 / (1 - `average_decay`) steps of a long one.
    Running statistics of norms are averaged as well.

    `network_weights` of a checkpoint is the average, so that whatever loads one predicts with it. The weights in
    training are with the optimiser's state, for `--c`. A checkpoint made without an average goes on with its weights.
    """

    bare_network: Any
    average_decay = 0.999
    _has_average = False  # whether the network holds the average, and `_other` the weights in training

    def initialize(self) -> None:
        super().initialize()
        self._other = AveragedModel(self.bare_network, multi_avg_fn=self._move, use_buffers=True)
        self.optimizer.register_step_post_hook(self._after_step)
        self.optimizer.register_state_dict_post_hook(self._add_weights)
        self.optimizer.register_load_state_dict_pre_hook(self._take_weights)

    def _move(self, averages: Tensors, weights: Tensors, steps: Tensor | int) -> None:
        """Move `averages` to `weights`, all of one type, after so many steps."""
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, max(1 - self.average_decay, 9 / (int(steps) + 10)))
        else:
            torch._foreach_copy_(averages, weights)

    def _after_step(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        if self._stepped:
            self._other.update_parameters(self.bare_network)

    def on_validation_epoch_start(self) -> None:
        self._swap()
        super().on_validation_epoch_start()

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        super().on_validation_epoch_end(val_outputs)
        self._swap()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        with self._average():
            super().perform_actual_validation(save_probabilities)

    def save_checkpoint(self, filename: str) -> None:
        with self._average():
            super().save_checkpoint(filename)

    @contextmanager
    def _average(self) -> Iterator[None]:
        """The network holds the average. It may already: a signal can end a training in the middle of a validation."""
        if self._has_average:
            yield
            return
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for here, there in zip(_tensors(self.bare_network), _tensors(self._other.module), strict=True):
            before = here.clone()
            here.copy_(there)
            there.copy_(before)
        self._has_average = not self._has_average

    def _add_weights(self, optimizer: Optimizer, state: dict) -> None:
        state[ENTRY] = {"weights": self._other.module.state_dict(), "steps": int(self._other.n_averaged)}

    def _take_weights(self, optimizer: Optimizer, state: dict) -> None:
        """Of a checkpoint, whose `network_weights` the network has by now."""
        entry = state.get(ENTRY, {"weights": self.bare_network.state_dict(), "steps": 0})
        self._other.module.load_state_dict(entry["weights"])
        self._other.n_averaged.fill_(entry["steps"])
        self._has_average = True
        self._swap()


def _tensors(network: torch.nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
