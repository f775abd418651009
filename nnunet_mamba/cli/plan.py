"""Plan patch and batch of one of our networks for a data set in nnUNet_raw by your GPU's memory or machine's RAM.

nnU-Net and torch are imported only to make the plan.
"""

import argparse

from nnunet_mamba import catalogue

SIZES = {name: text for entry in catalogue.NETWORKS for name, text in entry.sizes.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data set, the network and the memory."""
    parser.add_argument(
        "-d", dest="dataset", metavar="ID", required=True, help="number or name of the data set in nnUNet_raw"
    )
    networks = [entry.key for entry in catalogue.NETWORKS]
    parser.add_argument(
        "--network", choices=networks, default=networks[0], help="what will be trained (default: %(default)s)"
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
    with_sizes = ", ".join(entry.key for entry in catalogue.NETWORKS if entry.sizes)
    sizes = parser.add_argument_group(
        f"a smaller or larger network ({with_sizes})", "one number per stage; by default the paper's"
    )
    for name, text in SIZES.items():
        sizes.add_argument(f"--{name.replace('_', '-')}", metavar="N", type=int, nargs="+", help=text)
    parser.add_argument(
        "-p", dest="name", metavar="NAME", help="the plans' name (default: made of the network and the memory)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace plans of this name")


def run(args: argparse.Namespace) -> None:
    """Write the plans and say what to run next."""
    from nnunet_mamba.planning.budget import budget
    from nnunet_mamba.planning.report import report
    from nnunet_mamba.planning.run import plan

    memory = budget(args.gpu_memory, args.ram)
    sizes = tuple((name, tuple(size)) for name in SIZES if (size := getattr(args, name)))
    planned = plan(args.dataset, args.network, memory, args.name, sizes, args.overwrite)
    print(report(args.network, memory, planned))
