"""Plan patch and batch of one of our networks for your GPU's memory or your machine's RAM, for a data set in nnUNet_raw.

nnU-Net and torch are imported when a plan is made.
"""

import argparse

NETWORKS = ("da_mambanet", "dermomamba", "slicemamba", "slicemamba_supernet")
SIZES = ("dims", "depths", "depths_decoder")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data set, the network and the memory."""
    parser.add_argument(
        "-d", dest="dataset", metavar="ID", type=int, required=True, help="the data set's number in nnUNet_raw"
    )
    parser.add_argument(
        "--network", choices=NETWORKS, default=NETWORKS[0], help="what will be trained (default: %(default)s)"
    )
    memory = parser.add_mutually_exclusive_group()
    memory.add_argument(
        "--gpu-memory", metavar="GIB", type=float, help="what the GPU has (default: the first GPU of this machine)"
    )
    memory.add_argument(
        "--ram",
        metavar="GIB",
        type=float,
        help="what a training on a CPU may take (default without a GPU: half of this machine's)",
    )
    sizes = parser.add_argument_group(
        "a smaller or larger SliceMamba", "one number a stage; by default those of the paper"
    )
    sizes.add_argument(
        "--dims", metavar="N", type=int, nargs="+", help="channels, each twice the one before (96 192 384 768)"
    )
    sizes.add_argument("--depths", metavar="N", type=int, nargs="+", help="blocks of the encoder (2 2 9 2)")
    sizes.add_argument("--depths-decoder", metavar="N", type=int, nargs="+", help="blocks of the decoder (2 2 2 1)")
    parser.add_argument("-p", dest="name", metavar="NAME", help="the plans' name (default: one of network and memory)")


def run(args: argparse.Namespace) -> None:
    """Write the plans, and say what to run next."""
    from nnunet_mamba.planning.budget import budget
    from nnunet_mamba.planning.report import report
    from nnunet_mamba.planning.run import plan

    memory = budget(args.gpu_memory, args.ram)
    sizes = tuple((name, tuple(size)) for name in SIZES if (size := getattr(args, name)))
    planned = plan(args.dataset, args.network, memory, args.name, sizes)
    print(report(args.dataset, args.network, memory, planned))
