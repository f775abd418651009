"""ClassShares: the network's first guess, in every pixel, is how much of the images each class covers."""

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, distributed

SMALLEST = 1e-4  # a class may be missing from the first batch


class ClassShares(nnUNetTrainer):
    """A trainer that sets the biases of the last convolutions to the classes' shares of the first batch.

    An untrained network gives every class the same probability. Its first hundreds of steps then teach all weights
    that most pixels are background, and hide a rare class: at the end of them nothing in the network tells its pixels
    from the others. With these biases the first guess is already right on average, so that the steps teach the
    difference.

    Only a new training does so, after pretrained weights too (nnU-Net does not load the last convolutions): one that
    goes on has learned its biases. Networks name their last convolutions `seg_layers`, as nnU-Net does.

    Source:
        Lin et al. 2017, Focal Loss for Dense Object Detection, section 3.3, for one rare class.
    """

    starts_with_class_shares = True

    def initialize(self) -> None:
        super().initialize()
        self._is_new = True

    def load_checkpoint(self, *args, **kwargs) -> None:
        super().load_checkpoint(*args, **kwargs)
        self._is_new = False

    def train_step(self, batch: dict) -> dict:
        if self._is_new:
            self._is_new = False
            if self.starts_with_class_shares:
                self._start_with(batch["target"])
        return super().train_step(batch)

    @torch.no_grad()
    def _start_with(self, target: Tensor | list[Tensor]) -> None:
        shares = self._shares(target[0] if isinstance(target, list) else target)
        percent = ", ".join(f"{share:.2%}" for share in shares.tolist())
        self.print_to_log_file(
            f"The first guess in each pixel, from the first batch: {percent} for the classes or regions"
        )
        bias = torch.logit(shares) if self.label_manager.has_regions else torch.log(shares)
        for name, module in self.network.named_modules():
            if "seg_layers" in name.split(".") and isinstance(getattr(module, "bias", None), Tensor):
                module.bias.copy_(bias)

    def _shares(self, target: Tensor) -> Tensor:
        """Of the pixels that count, per class or region; of all processes' batches.

        Shape:
            (B, 1, H, W) labels, or (B, regions, H, W) and with an ignore label one more -> (classes or regions).
        """
        manager = self.label_manager
        heads, target = manager.num_segmentation_heads, target.to(self.device)
        if manager.has_regions:
            maps, counts = target[:, :heads] > 0, target.new_ones(target[:, :1].shape, dtype=torch.bool)
            if manager.has_ignore_label:
                counts = target[:, heads:] == 0
        else:
            maps = target == torch.arange(heads, device=self.device).view(-1, 1, 1)
            counts = target != (-1 if manager.ignore_label is None else manager.ignore_label)
        totals = torch.cat([(maps & counts).sum((0, 2, 3)), counts.sum().view(1)])
        if self.is_ddp:
            distributed.all_reduce(totals)
        return (totals[:-1] / totals[-1].clamp(min=1)).clamp(SMALLEST, 1 - SMALLEST)
