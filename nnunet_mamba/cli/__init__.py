"""The command `nnunet_mamba`: one file a sub-command."""
