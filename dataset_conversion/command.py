"""The options that every converter shares, and a converter file run by `python -m`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nnunet_mamba.dataset_conversion.pipeline import PROTOCOLS
from nnunet_mamba.dataset_conversion.registry import CONVERTERS, find_converter


def parse(name: str, argv: Sequence[str], prog: str) -> argparse.Namespace:
    """The options of the data set `name`: those that all share, and after them its own.

    A converter's module may define `add_arguments(parser)` for its own options, with `options(args) -> dict` to hand them to its
    `convert`; with `SOURCE = False` it has no -i, and takes its sources by options of its own.

    Raises:
        ValueError: no such data set.
    """
    converter = find_converter(name)
    summary = converter.__doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog=prog, description=summary)
    _add_arguments(parser, getattr(converter, "SOURCE", True))
    if hasattr(converter, "add_arguments"):
        converter.add_arguments(parser.add_argument_group("options of this data set"))
    return parser.parse_args(argv)


def _add_arguments(parser: argparse.ArgumentParser, source: bool) -> None:
    if source:
        parser.add_argument(
            "-i", dest="source", metavar="SRC", type=Path, required=True, help="its folder or zip, as downloaded"
        )
    parser.add_argument(
        "-d", dest="dataset_id", metavar="ID", type=int, required=True, help="a free nnU-Net id, 1 to 999"
    )
    parser.add_argument("--size", nargs=2, type=int, metavar=("H", "W"), help="resample to this height and width")
    parser.add_argument(
        "--test", type=int, default=0, metavar="N", help="hold out N training cases: imagesTs, labelsTs"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the test cases and the folds (default: 0)")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="the papers' image size, and their hold-out as fold 0")
    parser.add_argument("-np", dest="processes", metavar="P", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--skip-bad", action="store_true", help="leave out cases that are broken, and list them")


def run(name: str, args: argparse.Namespace) -> Path:
    """Convert the data set `name` by parsed arguments."""
    converter = find_converter(name)
    keywords = converter.options(args) if hasattr(converter, "options") else {}
    if getattr(converter, "SOURCE", True):
        keywords["source"] = args.source
    return converter.convert(
        dataset_id=args.dataset_id,
        size=tuple(args.size) if args.size else None,
        test=args.test,
        seed=args.seed,
        protocol=args.protocol,
        processes=args.processes,
        skip_bad=args.skip_bad,
        **keywords,
    )


def main(name: str, argv: list[str] | None = None) -> int:
    """`python -m` of one converter file; returns the exit status, an error is one line on stderr.

    The converter is imported by its own name here: spawned workers could not find the functions of `__main__`.
    """
    prog = f"python -m {CONVERTERS[name]}"
    args = parse(name, sys.argv[1:] if argv is None else argv, prog)
    try:
        run(name, args)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"{prog}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{prog}: interrupted, nothing was written", file=sys.stderr)
        return 130
    return 0
