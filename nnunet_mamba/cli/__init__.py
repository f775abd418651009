"""The command `nnunet_mamba`: one file per sub-command."""
