"""Convert a public data set, as downloaded, into an nnU-Net raw data set with folds that do not leak."""

import argparse

from nnunet_mamba.dataset_conversion import command
from nnunet_mamba.dataset_conversion.registry import CONVERTERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data set's name and the options that all converters share."""
    parser.add_argument("dataset", metavar="DATASET", help=f"one of: {', '.join(sorted(CONVERTERS))}")
    command.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Convert; ValueError and OSError say what to do, and leave nothing half-written."""
    command.run(args.dataset, args)
