"""Train DA-MambaNet on synthetic skin images with the stock nnU-Net commands, in a few minutes.

This process only imports torch to find the device; the commands that it starts do the work.
"""

import argparse

from nnunet_mamba.exit_status import stops_raise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The folder and the device."""
    parser.add_argument(
        "-o",
        dest="folder",
        metavar="FOLDER",
        default="nnunet_mamba_demo",
        help="where everything is written; an interrupted demo in it is resumed (default: ./nnunet_mamba_demo)",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="device to train and predict on (default: auto)",
    )


def run(args: argparse.Namespace) -> None:
    """Run the demo."""
    from nnunet_mamba.demo.run import run_demo

    with stops_raise():  # the command that runs must not outlive the demo
        run_demo(args.folder, args.device)
