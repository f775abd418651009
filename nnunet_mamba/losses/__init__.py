"""Losses of the papers, over one functional core; they know torch and nothing of nnU-Net."""

from nnunet_mamba.losses.asfm import ASFMLoss
from nnunet_mamba.losses.guide_fusion import GuideFusionLoss

__all__ = ["ASFMLoss", "GuideFusionLoss"]
