"""Convert a public data set, as downloaded, into an nnU-Net raw data set with folds that do not leak."""

import argparse

from nnunet_mamba.dataset_conversion import command
from nnunet_mamba.dataset_conversion.registry import CONVERTERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data set's name; what follows it is parsed with the options of that data set."""
    parser.add_argument("dataset", metavar="DATASET", help=f"one of: {', '.join(sorted(CONVERTERS))}")
    parser.add_argument(
        "options", nargs=argparse.REMAINDER, metavar="...", help="its options: DATASET --help lists them"
    )


def run(args: argparse.Namespace) -> None:
    """Convert; ValueError and OSError say what to do, and leave nothing half-written."""
    command.run(args.dataset, command.parse(args.dataset, args.options, f"nnunet_mamba convert {args.dataset}"))
