"""Tells nnU-Net where our trainers are, at every start of Python, through nnunet_mamba.pth.

nnU-Net 2.8 has no entry points: it searches trainers by name in its own tree and in the folders of the environment
variable `nnUNet_extTrainer`. This module appends our folder, so that the stock commands and their child processes find
us without a file in nnU-Net's tree. It runs in every Python of the environment: it only uses the standard library and
never raises.
"""

import os

VARIABLE = "nnUNet_extTrainer"
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ext")


def register() -> None:
    """Append our folder to `nnUNet_extTrainer`, once, after the user's own folders."""
    folders = [folder for folder in os.environ.get(VARIABLE, "").split(os.pathsep) if folder]
    if FOLDER not in folders:
        os.environ[VARIABLE] = os.pathsep.join([*folders, FOLDER])


register()
