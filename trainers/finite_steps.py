"""FiniteSteps: values that are not finite reach neither weights, nor running statistics, nor the log's means."""

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import distributed
from torch.optim import Optimizer


class FiniteSteps(nnUNetTrainer):
    """A trainer that skips batches whose gradients are not finite, says how many, and goes on.

    nnU-Net 2.8 relies on the gradient scaler, which exists on CUDA only. On other devices one NaN image turns all
    weights into NaN. The scaler does not undo what such a batch left in the running statistics of batch norms. It also
    lowers the loss scale, though no scale makes such a loss finite. Here a bad batch gives the optimiser no
    gradients, restores statistics and scale, and does not count in an epoch's means. The gradients decide, because they
    are the same in all processes of a distributed training. On CUDA a good step waits for the device no more often than
    the scaler does.

    Raises:
        RuntimeError: at the end of an epoch in which no loss was finite.
    """

    def initialize(self) -> None:
        super().initialize()
        self._stepped = False
        self.optimizer.register_step_pre_hook(self._before_step)

    def _before_step(self, optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        # A scaler has checked the gradients: if they are not finite, it does not call the optimiser at all.
        looked_at = self.grad_scaler is not None and self.grad_scaler.is_enabled()
        self._stepped = looked_at or _finite(optimizer)
        if not self._stepped:
            optimizer.zero_grad(set_to_none=True)  # without gradients a step changes no weight, momentum or count

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        self._left_out = 0

    def train_step(self, batch: dict) -> dict:
        statistics = [buffer.clone() for buffer in self.network.buffers()]
        self._stepped = False
        result = super().train_step(batch)
        if not self._stepped:
            self._left_out += 1
            with torch.no_grad():
                for buffer, before in zip(self.network.buffers(), statistics, strict=True):
                    buffer.copy_(before)
            if self.grad_scaler is not None and not self._all_finite(result["loss"]):
                before = self.grad_scaler.get_scale() / self.grad_scaler.get_backoff_factor()
                self.grad_scaler.update(before)
        return result

    def _all_finite(self, loss: np.ndarray) -> bool:
        """Whether the losses of all processes are finite. All skip the same batches, and so all get here."""
        finite = torch.tensor(float(np.isfinite(loss)), device=self.device)
        if self.is_ddp:
            distributed.all_reduce(finite, distributed.ReduceOp.MIN)
        return bool(finite)

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        if self._left_out:
            self.print_to_log_file(
                f"{self._left_out} of {len(train_outputs)} batches were left out of training: "
                "their gradients were not finite"
            )
        if not any(np.isfinite(output["loss"]) for output in train_outputs):
            raise RuntimeError(
                f"{type(self).__name__}: got no finite loss in the {len(train_outputs)} batches of epoch "
                f"{self.current_epoch}, so that nothing was learnt. Look for images that hold NaN "
                "(nnUNetv2_plan_and_preprocess --verify_dataset_integrity), or lower initial_lr. The checkpoints of "
                "earlier epochs are unharmed"
            )
        super().on_train_epoch_end(_with_finite_losses(train_outputs))

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        wrong = sum(not np.isfinite(output["loss"]) for output in val_outputs)
        if wrong:
            self.print_to_log_file(f"{wrong} of {len(val_outputs)} validation batches had a loss that was not finite")
        super().on_validation_epoch_end(_with_finite_losses(val_outputs))


def _finite(optimizer: Optimizer) -> bool:
    """Whether all gradients are finite: the sum of a tensor with a number that is not finite is not finite either."""
    gradients = [
        weight.grad for group in optimizer.param_groups for weight in group["params"] if weight.grad is not None
    ]
    return not gradients or bool(
        torch.stack([gradient.sum(dtype=torch.float32) for gradient in gradients]).isfinite().all()
    )


def _with_finite_losses(outputs: list[dict]) -> list[dict]:
    """`outputs` with the mean of the finite losses instead of the others, which leaves that mean unchanged.

    The number of outputs stays, because nnU-Net stacks those of all processes.
    """
    finite = [output["loss"] for output in outputs if np.isfinite(output["loss"])]
    if not finite:
        return outputs
    mean = np.mean(finite, dtype=np.float32)
    return [output if np.isfinite(output["loss"]) else output | {"loss": mean} for output in outputs]
