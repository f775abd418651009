"""The folder that nnU-Net is pointed to, see nnunet_mamba.nnunet_plugin."""
