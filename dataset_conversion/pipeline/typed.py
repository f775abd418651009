"""A conversion as the command line that does it."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_mamba.dataset_conversion.dataset import Dataset, Undecided

PROCESSES = 2  # the command line's default


def typed_command(
    dataset: Dataset, sources: Sequence[Path], dataset_id: int, shared: Mapping[str, Any], own: Mapping[str, Any]
) -> str:
    """`nnunet_mamba convert ...` with what differs from the defaults.

    Args:
        shared: the keywords that `convert` takes for every data set.
        own: the options of this data set, by keyword.
    """
    words = ["nnunet_mamba", "convert", dataset.name]
    for source, path in zip(dataset.sources, sources):  # optional ones may be missing
        words += [source.short or source.flag, str(path)]
    words += ["-d", str(dataset_id)]
    if shared["size"]:
        words += ["--size", *map(str, shared["size"])]
    for name in ("test", "seed", "protocol"):
        if shared[name]:
            words += [f"--{name}", str(shared[name])]
    if shared["processes"] != PROCESSES:
        words += ["-np", str(shared["processes"])]
    words += [flag for flag in ("--skip-bad", "--overwrite") if shared[flag.lstrip("-").replace("-", "_")]]
    for option in dataset.options:
        value = own[option.key]
        if value != option.default:
            words += [option.flag] if isinstance(option.default, bool) else [option.flag, str(value)]
    return shlex.join(words)


def ways_to_settle(
    undecided: Undecided,
    dataset: Dataset,
    sources: Sequence[Path],
    dataset_id: int,
    shared: Mapping[str, Any],
    own: Mapping[str, Any],
) -> ValueError:
    """The same error with a command line for each way, ready to be copied."""
    lines = [str(undecided)]
    if undecided.ways:
        lines.append("one of these lines settles it:" if len(undecided.ways) > 1 else "this line settles it:")
    for meaning, options in undecided.ways:
        command = typed_command(dataset, sources, dataset_id, shared, {**own, **options})
        lines += [f"  # {meaning}", f"  {command}"]
    return ValueError("\n".join(lines))
