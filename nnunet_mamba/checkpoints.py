"""Reads checkpoints without running what is in them: only tensors, numbers and plain values are unpickled."""

import io
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

NUMBERS = ("bool", "int32", "int64", "float16", "float32", "float64")  # NumPy's, in nnU-Net's logs


def read_checkpoint(file: Path | zipfile.Path) -> Any:
    """The content of a file that `torch.save` wrote, with its tensors on the CPU.

    Raises:
        OSError: there is no such file.
        ValueError: it is damaged, not from torch, or holds objects that may run code.
    """
    import torch

    torch.serialization.add_safe_globals(_numpy_numbers())
    with file.open("rb"):  # raises if it is not there; what torch raises of a cut file may be an OSError as well
        pass
    try:
        source = io.BytesIO(file.read_bytes()) if isinstance(file, zipfile.Path) else file
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's unpickler, about files that it then refuses
            return torch.load(source, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{file}: is damaged ({error}); copy or download the zip again") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, OSError) as error:
        raise ValueError(
            f"{file}: got {_what_it_is(file, str(error))}, wanted a torch checkpoint of tensors and plain values"
        ) from error


@cache
def _numpy_numbers() -> list[Callable | tuple[Callable, str]]:
    """What rebuilds NumPy numbers, under the names that NumPy 1 and NumPy 2 write."""
    import numpy as np

    scalar = np.float64(0).__reduce__()[0]

    def renamed(*arguments: Any) -> Any:
        return scalar(*arguments)

    other = "numpy.core" if scalar.__module__.startswith("numpy._core") else "numpy._core"
    renamed.__module__ = f"{other}.multiarray"
    renamed.__name__ = renamed.__qualname__ = "scalar"
    return [scalar, renamed, np.dtype, *(type(np.dtype(name)) for name in NUMBERS)]


def _what_it_is(file: Path | zipfile.Path, error: str) -> str:
    """What kind of file torch refused with `error`, whose text advises to unpickle anything."""
    with file.open("rb") as opened:
        start = opened.read(512).lstrip().lower()
    if not start:
        return "an empty file"
    if start.startswith(b"<"):
        return "a web page (download the file itself)"
    if "TorchScript" in error:
        return "a TorchScript archive, which holds code"
    if named := re.search(r"GLOBAL ([\w.]+)", error):
        return f"objects of the type {named[1]}, which may run code when they are read (save its state dict only)"
    if start.startswith(b"pk"):
        cut = "half written or cut off (copy or download it again)"
        return f"a zip file that torch cannot read: {cut}, or not a checkpoint"
    return "a file that torch did not write, or that is damaged (copy or download it again)"
