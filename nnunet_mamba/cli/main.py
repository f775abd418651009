"""The command line `nnunet_mamba COMMAND ...`: parses, dispatches, and reports errors in one line."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from nnunet_mamba import __version__

COMMANDS = ("convert", "demo", "doctor", "import-weights", "plan", "profile", "report", "search")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status: 0 done, 1 an error explained in one line, 130 interrupted."""
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
    args = parser.parse_args(argv)
    try:
        return args.run(args) or 0
    except (ValueError, OSError, RuntimeError) as error:
        print(f"nnunet_mamba {args.command}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"nnunet_mamba {args.command}: interrupted", file=sys.stderr)
        return 130
