"""Convert a public data set, as downloaded, into an nnU-Net raw data set with folds that do not leak."""

import argparse
import os
from collections.abc import Iterator


class _Names:
    """The names of the data sets, looked up when help is printed: their files import numpy and SimpleITK."""

    def __iter__(self) -> Iterator[str]:
        from nnunet_mamba.dataset_conversion.pipeline.registry import all_datasets

        return iter(all_datasets())

    def __contains__(self, name: object) -> bool:
        return True  # an unknown name gets the message of `find_dataset`


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data set's name; what follows it is parsed with the options of that data set."""
    if " convert " in os.environ.get("COMP_LINE", ""):  # a shell asks what may come next
        from nnunet_mamba.dataset_conversion.pipeline.command_line import add_parsers

        add_parsers(parser)
        return
    parser.add_argument("dataset", metavar="DATASET", choices=_Names(), help="one of: %(choices)s")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="...", help="its options: see DATASET --help")


def run(args: argparse.Namespace) -> None:
    """Convert. ValueError and OSError say what to do; nothing half-written is left."""
    from nnunet_mamba.dataset_conversion.pipeline import command_line

    command_line.run(args.dataset, args.options, "nnunet_mamba convert")
