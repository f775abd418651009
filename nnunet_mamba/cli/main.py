"""The command line `nnunet_mamba COMMAND ...`: parses and dispatches."""

import argparse
import os
from collections.abc import Sequence
from importlib import import_module

from nnunet_mamba import __version__
from nnunet_mamba.exit_status import exit_status

COMMANDS = ("convert", "demo", "doctor", "export", "import-weights", "plan", "predict", "profile", "report", "search")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status, as `exit_status` explains it."""
    return exit_status("nnunet_mamba", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    parser = make_parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what may come next
        import argcomplete

        argcomplete.autocomplete(parser)
    args = parser.parse_args(argv)
    return exit_status(f"nnunet_mamba {args.command}", lambda: args.run(args))


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands. It imports no torch."""
    parser = argparse.ArgumentParser(
        prog="nnunet_mamba", description="Mamba segmentation networks for stock nnU-Net v2."
    )
    parser.add_argument("--version", action="version", version=f"nnunet_mamba {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"nnunet_mamba.cli.{name.replace('-', '_')}")
        summary = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser
