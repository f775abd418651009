"""nnU-Net's three folders, as its variables name them."""

import os
from pathlib import Path

RAW, PREPROCESSED, RESULTS = VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def nnunet_folder(variable: str) -> Path:
    """The folder that nnU-Net's `variable` names.

    Raises:
        ValueError: the variable is not set.
    """
    value = os.environ.get(variable)
    if not value:
        raise ValueError(f"{variable} is not set: export {variable}=/a/folder/of/yours, as for nnU-Net's own commands")
    return Path(value)
