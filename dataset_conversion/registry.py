"""The data sets that can be converted, by name; a converter is imported when it is asked for."""

from importlib import import_module
from types import ModuleType

CONVERTERS = {
    "ChestXray": "nnunet_mamba.dataset_conversion.chest_xray",
    "CVC-ClinicDB": "nnunet_mamba.dataset_conversion.cvc_clinicdb",
    "DSB2018": "nnunet_mamba.dataset_conversion.dsb2018",
    "generic": "nnunet_mamba.dataset_conversion.generic",
    "ISIC2017": "nnunet_mamba.dataset_conversion.isic2017",
    "ISIC2018": "nnunet_mamba.dataset_conversion.isic2018",
    "Kvasir-SEG": "nnunet_mamba.dataset_conversion.kvasir_seg",
    "PH2": "nnunet_mamba.dataset_conversion.ph2",
    "Sunnybrook": "nnunet_mamba.dataset_conversion.sunnybrook",
    "Synapse": "nnunet_mamba.dataset_conversion.synapse",
}


def find_converter(name: str) -> ModuleType:
    """The converter's module for a data set name, whatever its case and hyphens; its `convert(source, dataset_id, ...)`
    gives the folder.

    Raises:
        ValueError: no data set of that name; the message lists the known ones.
    """
    for known, module in CONVERTERS.items():
        if _plain(known) == _plain(name):
            return import_module(module)
    raise ValueError(f"unknown data set {name!r}; known: {', '.join(sorted(CONVERTERS))}")


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")
