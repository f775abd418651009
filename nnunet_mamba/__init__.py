"""Mamba networks for medical image segmentation as trainers of stock nnU-Net v2.

Importing this package imports nothing else: it happens at every start of Python in the environment (see nnunet_plugin).
"""

__version__ = "0.1.0"
