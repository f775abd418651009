"""Trainers with one of our losses: a base for the papers' trainers, and nnU-Net's own trainer with any loss."""

import inspect

from torch import nn

from nnunet_mamba.trainers.deep_supervision import supervised
from nnunet_mamba.trainers.prepared_loss import PreparedLoss


class WithLoss(PreparedLoss):
    """A trainer with the loss `loss_class`.

    The loss's `hyper_parameters`, {attribute of a trainer: argument of the loss}, become attributes of the trainer,
    with the loss's own defaults.
    """

    loss_class: type[nn.Module]

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        if "loss_class" in vars(cls):
            arguments = inspect.signature(cls.loss_class).parameters
            for attribute, argument in _hyper_parameters(cls.loss_class).items():
                if attribute not in vars(cls):
                    setattr(cls, attribute, arguments[argument].default)

    @classmethod
    def build_loss(
        cls, batch_dice: bool = True, ignore_label: int | None = None, has_regions: bool = False, **hyper_parameters
    ) -> nn.Module:
        """The loss of one output. It sees from its target's shape whether there are regions."""
        return cls.loss_class(batch_dice=batch_dice, ignore_label=ignore_label, **hyper_parameters)

    def _build_loss(self) -> nn.Module:
        names = _hyper_parameters(self.loss_class)
        loss = self.build_loss(
            self.configuration_manager.batch_dice,
            self.label_manager.ignore_label,
            self.label_manager.has_regions,
            **{argument: getattr(self, attribute) for attribute, argument in names.items()},
        )
        return supervised(self, loss)


def with_loss(loss_class: type[nn.Module]) -> type[WithLoss]:
    """The trainer `nnUNetTrainer<Name>`: nnU-Net's own, 2-D or 3-D, with the loss `<Name>Loss`.

    The loss's `nnunet_hyper_parameters`, {attribute: value}, take the place of its defaults.
    """
    name = f"nnUNetTrainer{loss_class.__name__.removesuffix('Loss')}"
    doc = f"nnU-Net as it is, 2-D or 3-D, with `{loss_class.__name__}` instead of Dice and cross entropy."
    chosen = getattr(loss_class, "nnunet_hyper_parameters", {})
    attributes = {"__module__": "nnunet_mamba.trainers", "__doc__": doc, "loss_class": loss_class, **chosen}
    return type(name, (WithLoss,), attributes)


def _hyper_parameters(loss_class: type[nn.Module]) -> dict[str, str]:
    return getattr(loss_class, "hyper_parameters", {})
