"""Where nnU-Net looks for our trainers: it imports this file by its bare name and takes the class from it.

The classes live in nnunet_mamba.trainers, in one copy: a class defined here would be a new one at every look-up.
"""

from nnunet_mamba.trainers.asfm_trainer import (
    nnUNetTrainerASFM,
    nnUNetTrainerASFM_5epochs,
    nnUNetTrainerASFM_50epochs,
    nnUNetTrainerASFM_250epochs,
)
from nnunet_mamba.trainers.da_mamba_trainer import (
    DAMambaTrainer,
    DAMambaTrainer_5epochs,
    DAMambaTrainer_50epochs,
    DAMambaTrainer_250epochs,
    DAMambaTrainer_demo,
)
from nnunet_mamba.trainers.dermo_mamba_trainer import (
    DermoMambaTrainer,
    DermoMambaTrainer_5epochs,
    DermoMambaTrainer_50epochs,
    DermoMambaTrainer_250epochs,
)
from nnunet_mamba.trainers.guide_fusion_trainer import (
    nnUNetTrainerGuideFusion,
    nnUNetTrainerGuideFusion_5epochs,
    nnUNetTrainerGuideFusion_50epochs,
    nnUNetTrainerGuideFusion_250epochs,
)
from nnunet_mamba.trainers.slice_mamba_supernet_trainer import (
    SliceMambaSupernetTrainer,
    SliceMambaSupernetTrainer_5epochs,
    SliceMambaSupernetTrainer_50epochs,
    SliceMambaSupernetTrainer_250epochs,
)
from nnunet_mamba.trainers.slice_mamba_trainer import (
    SliceMambaTrainer,
    SliceMambaTrainer_5epochs,
    SliceMambaTrainer_50epochs,
    SliceMambaTrainer_250epochs,
)

__all__ = [
    "DAMambaTrainer",
    "DAMambaTrainer_5epochs",
    "DAMambaTrainer_50epochs",
    "DAMambaTrainer_250epochs",
    "DAMambaTrainer_demo",
    "DermoMambaTrainer",
    "DermoMambaTrainer_5epochs",
    "DermoMambaTrainer_50epochs",
    "DermoMambaTrainer_250epochs",
    "SliceMambaSupernetTrainer",
    "SliceMambaSupernetTrainer_5epochs",
    "SliceMambaSupernetTrainer_50epochs",
    "SliceMambaSupernetTrainer_250epochs",
    "SliceMambaTrainer",
    "SliceMambaTrainer_5epochs",
    "SliceMambaTrainer_50epochs",
    "SliceMambaTrainer_250epochs",
    "nnUNetTrainerASFM",
    "nnUNetTrainerASFM_5epochs",
    "nnUNetTrainerASFM_50epochs",
    "nnUNetTrainerASFM_250epochs",
    "nnUNetTrainerGuideFusion",
    "nnUNetTrainerGuideFusion_5epochs",
    "nnUNetTrainerGuideFusion_50epochs",
    "nnUNetTrainerGuideFusion_250epochs",
]
