"""`python -m nnunet_mamba.dataset_conversion DATASET ...` does what `nnunet_mamba convert DATASET ...` does."""

import argparse
import sys

from nnunet_mamba.dataset_conversion.pipeline import command_line
from nnunet_mamba.dataset_conversion.pipeline.registry import all_datasets

PROG = "python -m nnunet_mamba.dataset_conversion"


def main() -> int:
    """Return the exit status: 0 done, 1 an error that one line on stderr explains, 130 interrupted."""
    parser = argparse.ArgumentParser(prog=PROG, description="Convert a public data set for nnU-Net.")
    parser.add_argument("dataset", metavar="DATASET", help=f"one of: {', '.join(all_datasets())}")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="...", help="its options: see DATASET --help")
    args = parser.parse_args()
    try:
        command_line.run(args.dataset, args.options, PROG)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{PROG}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{PROG}: interrupted, nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
