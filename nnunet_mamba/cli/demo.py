"""Train DA-MambaNet on synthetic skin images with the stock nnU-Net commands, in a few minutes.

Torch is imported only to find the device; the work is done by the commands that it starts.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The folder and the device."""
    parser.add_argument(
        "-o",
        dest="folder",
        metavar="FOLDER",
        default="nnunet_mamba_demo",
        help="where everything is written; a demo that was interrupted there continues (default: ./nnunet_mamba_demo)",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "mps"),
        default="auto",
        help="what trains and predicts (default: auto)",
    )


def run(args: argparse.Namespace) -> None:
    """Run the demo."""
    from nnunet_mamba.demo.run import run_demo

    run_demo(args.folder, args.device)
