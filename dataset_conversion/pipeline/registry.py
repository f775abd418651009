"""The data sets that can be converted: every `Dataset` that a file at the top of `dataset_conversion` makes."""

import pkgutil
from importlib import import_module

import nnunet_mamba.dataset_conversion as package
from nnunet_mamba.dataset_conversion.dataset import Dataset


def all_datasets() -> dict[str, Dataset]:
    """The data sets by name, in alphabetical order."""
    found: dict[str, Dataset] = {}
    for file in pkgutil.iter_modules(package.__path__):
        if not file.ispkg and not file.name.startswith("_"):
            module = import_module(f"{package.__name__}.{file.name}")
            found |= {value.name: value for value in vars(module).values() if isinstance(value, Dataset)}
    return dict(sorted(found.items(), key=lambda item: item[0].casefold()))


def find_dataset(name: str) -> Dataset:
    """The data set of that name; case, hyphens and underscores do not matter.

    Raises:
        ValueError: no data set has that name; the message lists the known ones.
    """
    datasets = all_datasets()
    for known, dataset in datasets.items():
        if _plain(known) == _plain(name):
            return dataset
    raise ValueError(f"unknown data set {name!r}; known: {', '.join(datasets)}")


def markdown_table() -> str:
    """The table of data sets in docs/data_sets.md."""
    rows = [
        ("`DATASET`", "what", "labels", "never split", "options of its own"),
        ("---",) * 5,
        *(
            (f"`{name}`", set.what, set.segments, set.never_split, _options(set))
            for name, set in all_datasets().items()
        ),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _options(dataset: Dataset) -> str:
    others = [source for source in dataset.sources if "-i" not in (source.flag, source.short)]
    texts = [f"`{source.flag} {source.metavar}`" for source in others]
    for option in dataset.options:
        values = option.metavar.replace("|", "\\|")
        texts.append(f"`{option.flag} {values}`" if values else f"`{option.flag}`: {option.help}")
    return ", ".join(texts)


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")
