"""Tells nnU-Net where our trainers are, at every start of Python, through nnunet_mamba.pth.

nnU-Net 2.8 has no entry points: it looks for a trainer by name in its own tree and then in the folders of the environment
variable `nnUNet_extTrainer`. Appending our one folder here makes the stock commands and the processes that they start find
us without a file in nnU-Net's tree. Standard library only, and no exception: this runs in every Python of the environment.
"""

import os

VARIABLE = "nnUNet_extTrainer"
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ext")


def register() -> None:
    """Append our folder to `nnUNet_extTrainer`, once, behind whatever the user has set."""
    folders = [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
    if FOLDER not in folders:
        os.environ[VARIABLE] = os.pathsep.join([*folders, FOLDER])


register()
