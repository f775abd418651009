"""`python -m nnunet_mamba.dataset_conversion DATASET ...` does what `nnunet_mamba convert DATASET ...` does."""

import argparse
import sys

from nnunet_mamba.dataset_conversion.pipeline import command_line
from nnunet_mamba.dataset_conversion.pipeline.registry import all_datasets
from nnunet_mamba.exit_status import exit_status

PROG = "python -m nnunet_mamba.dataset_conversion"


def main() -> None:
    """Convert."""
    parser = argparse.ArgumentParser(prog=PROG, description="Convert a public data set for nnU-Net.")
    parser.add_argument("dataset", metavar="DATASET", help=f"one of: {', '.join(all_datasets())}")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="...", help="its options: see DATASET --help")
    args = parser.parse_args()
    command_line.run(args.dataset, args.options, PROG)


if __name__ == "__main__":
    sys.exit(exit_status(PROG, main))
