"""The data sets that can be converted, by name; a converter is imported when it is asked for."""

from importlib import import_module
from types import ModuleType

CONVERTERS = {
    "DSB2018": "nnunet_mamba.dataset_conversion.dsb2018",
    "generic": "nnunet_mamba.dataset_conversion.generic",
    "PH2": "nnunet_mamba.dataset_conversion.ph2",
    "Sunnybrook": "nnunet_mamba.dataset_conversion.sunnybrook",
    "Synapse": "nnunet_mamba.dataset_conversion.synapse",
}


def find_converter(name: str) -> ModuleType:
    """The converter's module for a data set name, whatever its case; it holds `convert(source, dataset_id, ...) -> Path`.

    Raises:
        ValueError: no data set of that name; the message lists the known ones.
    """
    for known, module in CONVERTERS.items():
        if known.casefold() == name.casefold():
            return import_module(module)
    raise ValueError(f"unknown data set {name!r}; known: {', '.join(sorted(CONVERTERS))}")
