"""The options that every converter shares, and a converter file run by `python -m`."""

import argparse
import sys
from pathlib import Path

from nnunet_mamba.dataset_conversion.pipeline import PROTOCOLS
from nnunet_mamba.dataset_conversion.registry import CONVERTERS, find_converter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Source, id and the shared options."""
    parser.add_argument("-i", dest="source", metavar="SRC", type=Path, required=True, help="its folder or zip, as downloaded")
    parser.add_argument("-d", dest="dataset_id", metavar="ID", type=int, required=True, help="a free nnU-Net id, 1 to 999")
    parser.add_argument("--size", nargs=2, type=int, metavar=("H", "W"), help="resample to this height and width")
    parser.add_argument("--test", type=int, default=0, metavar="N", help="hold out N cases: imagesTs, labelsTs")
    parser.add_argument("--seed", type=int, default=0, help="of the test cases and the folds (default: 0)")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="the papers' image size, and their hold-out as fold 0")
    parser.add_argument("-np", dest="processes", metavar="P", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--skip-bad", action="store_true", help="leave out cases that are broken, and list them")


def run(name: str, args: argparse.Namespace) -> Path:
    """Convert the data set `name` by parsed arguments."""
    return find_converter(name).convert(
        args.source,
        args.dataset_id,
        size=tuple(args.size) if args.size else None,
        test=args.test,
        seed=args.seed,
        protocol=args.protocol,
        processes=args.processes,
        skip_bad=args.skip_bad,
    )


def main(name: str, argv: list[str] | None = None) -> int:
    """`python -m` of one converter file; returns the exit status, an error is one line on stderr.

    The converter is imported by its own name here: spawned workers could not find the functions of `__main__`.
    """
    summary = f"Convert {name} into an nnU-Net raw data set."
    parser = argparse.ArgumentParser(prog=f"python -m {CONVERTERS[name]}", description=summary)
    add_arguments(parser)
    args = parser.parse_args(argv)
    try:
        run(name, args)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted, nothing was written", file=sys.stderr)
        return 130
    return 0
