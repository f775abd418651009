"""The options of one data set on the command line: those that all data sets share, then its own."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from nnunet_mamba.dataset_conversion.dataset import Dataset, Option
from nnunet_mamba.dataset_conversion.pipeline.convert import PROTOCOLS, convert
from nnunet_mamba.dataset_conversion.pipeline.registry import all_datasets, find_dataset
from nnunet_mamba.dataset_conversion.pipeline.typed import PROCESSES
from nnunet_mamba.exit_status import stops_raise


def run(name: str, argv: Sequence[str], prog: str) -> Path:
    """Convert the data set `name` with the options in `argv`; returns the folder that was written.

    Raises:
        ValueError: no such data set, or as `convert` does.
    """
    dataset = find_dataset(name)
    parser = make_parser(dataset, f"{prog} {name}")
    values = vars(parser.parse_args(argv))
    try:
        dataset.check_options({option.key: values[option.key] for option in dataset.options})
    except ValueError as error:
        parser.error(str(error))
    given = [values.pop(source.flag.lstrip("-")) for source in dataset.sources]
    source = [path for path in given if path is not None]
    size = values.pop("size")
    with stops_raise():
        return convert(dataset.name, source, size=size and tuple(size), **values)


def make_parser(dataset: Dataset, prog: str) -> argparse.ArgumentParser:
    """The parser of `prog`, which converts `dataset`."""
    parser = argparse.ArgumentParser(prog=prog, description=f"{dataset.name}: {dataset.description}.")
    _add_arguments(parser, dataset)
    return parser


def add_parsers(parser: argparse.ArgumentParser) -> None:
    """A parser for each data set below `parser`, for tab completion."""
    parsers = parser.add_subparsers()
    for name, dataset in all_datasets().items():
        _add_arguments(parsers.add_parser(name), dataset)


def _add_arguments(parser: argparse.ArgumentParser, dataset: Dataset) -> None:
    """The names of the parsed values are the keywords of `convert`, except for the sources."""
    for source in dataset.sources:
        flags = [source.short, source.flag] if source.short else [source.flag]
        parser.add_argument(
            *flags,
            dest=source.flag.lstrip("-"),
            metavar=source.metavar,
            type=Path,
            required=not source.optional,
            help=source.help,
        )
    parser.add_argument(
        "-d", dest="dataset_id", metavar="ID", type=int, required=True, help="a free nnU-Net id, 1 to 999"
    )
    parser.add_argument("--size", nargs=2, type=int, metavar=("H", "W"), help="resample to this height and width")
    parser.add_argument(
        "--test", type=int, default=0, metavar="N", help="hold out N training cases: imagesTs, labelsTs"
    )
    parser.add_argument("--seed", type=int, default=0, help="for the test cases and the folds (default: 0)")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="the papers' image size, and their hold-out as fold 0")
    parser.add_argument(
        "-np", dest="processes", metavar="P", type=int, default=PROCESSES, help=f"processes (default: {PROCESSES})"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave out broken cases and list them")
    parser.add_argument("--overwrite", action="store_true", help="replace this data set if the id has it already")
    own = parser.add_argument_group("options of this data set")
    for option in dataset.options:
        _add_option(own, option)


def _add_option(group: argparse._ArgumentGroup, option: Option) -> None:
    if isinstance(option.default, bool):
        group.add_argument(option.flag, dest=option.key, action="store_true", help=option.help)
        return
    kind = str if option.default is None else type(option.default)
    help = option.help if option.default is None else f"{option.help} (default: {option.default})"
    group.add_argument(
        option.flag, dest=option.key, type=kind, default=option.default, metavar=option.metavar, help=help
    )
