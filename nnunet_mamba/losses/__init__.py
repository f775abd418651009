"""Losses of the papers, over one functional core; they know torch and nothing of nnU-Net.

Each file here may define one class `<Name>Loss`. It is exported, and imported when first used.
"""

from importlib import import_module
from typing import Any

from nnunet_mamba import catalogue

__all__ = [*catalogue.loss_files()]


def __getattr__(name: str) -> Any:
    files = catalogue.loss_files()
    if name not in files:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{files[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
