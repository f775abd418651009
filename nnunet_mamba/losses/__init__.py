"""Losses of the papers, over one functional core; they know torch and nothing of nnU-Net."""

from nnunet_mamba.losses.asfm import ASFMLoss

__all__ = ["ASFMLoss"]
