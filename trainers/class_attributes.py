"""ClassAttributes: what a trainer's class states wins over the defaults that nnU-Net sets in `__init__`."""

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class ClassAttributes(nnUNetTrainer):
    """A trainer with hyper-parameters in the body of its class: `num_epochs = 50` there is enough.

    nnU-Net sets its defaults on each instance, where they hide the class's values: they are removed. The `__init__`
    of a derived trainer comes later and has the last word.
    """

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        for name in list(vars(self)):
            if hasattr(type(self), name):
                delattr(self, name)
