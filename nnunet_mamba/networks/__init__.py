"""The published networks, each for any image size, channels and classes."""

from nnunet_mamba.networks.da_mambanet import DAMambaNet
from nnunet_mamba.networks.dermomamba import DermoMamba
from nnunet_mamba.networks.published import load_published_state_dict
from nnunet_mamba.networks.slicemamba import SliceMamba, SliceMambaSupernet

__all__ = ["DAMambaNet", "DermoMamba", "SliceMamba", "SliceMambaSupernet", "load_published_state_dict"]
