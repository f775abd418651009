"""The published networks, each for any image size, channels and classes; imported when first used."""

from importlib import import_module
from typing import Any

from nnunet_mamba import catalogue
from nnunet_mamba.networks.published import load_published_state_dict

_FILES = {entry.network: entry.network_file for entry in catalogue.NETWORKS}
NAMES = tuple(_FILES)
__all__ = ["load_published_state_dict", *_FILES]


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_FILES])
