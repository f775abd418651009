"""Search SliceMamba's slicing for a data set: evolve it on held-out cases with a trained supernet."""

import argparse

from nnunet_mamba import catalogue


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What was trained, how to evolve, and where to keep the search."""
    what = parser.add_argument_group("the supernet", "as nnUNetv2_train was told")
    what.add_argument("-d", dest="dataset", required=True, metavar="ID", help="number or name of the data set")
    what.add_argument("-f", dest="fold", required=True, metavar="FOLD", help="fold of the supernet, or all")
    what.add_argument("-c", dest="configuration", default="2d", help="configuration (default: 2d)")
    what.add_argument("-p", dest="plans", default="nnUNetPlans", help="plans (default: nnUNetPlans)")
    supernet = catalogue.network("slicemamba_supernet").trainer
    what.add_argument("-tr", dest="trainer", default=supernet, help="trainer (default: %(default)s)")
    what.add_argument(
        "-chk", dest="checkpoint", default="checkpoint_final.pth", help="checkpoint (default: %(default)s)"
    )

    how = parser.add_argument_group("the evolution", "the defaults are the paper's")
    how.add_argument("--population", type=int, default=50, help="candidates a generation (default: 50)")
    how.add_argument(
        "--generations", type=int, default=20, help="generations, the random first one included (default: 20)"
    )
    how.add_argument("--parents", type=int, default=10, help="the best so far, that are bred (default: 10)")
    how.add_argument("--mutants", type=int, default=25, help="mutants a generation (default: 25)")
    how.add_argument("--crossovers", type=int, default=25, help="crossovers a generation (default: 25)")
    how.add_argument("--mutation-rate", type=float, default=0.1, help="chance of each block to change (default: 0.1)")
    how.add_argument("--seed", type=int, default=0, help="of everything drawn (default: 0)")

    where = parser.add_argument_group("the work")
    where.add_argument(
        "--storage",
        metavar="URL_OR_FILE",
        help="where the search is kept, so that it can go on and be shared: sqlite:///..., postgresql://... "
        "(with psycopg installed), mysql+pymysql://... (with PyMySQL), or a journal FILE.log on a shared disk. Several searches "
        "on one storage share the work (default: search.db beside the supernet's checkpoint)",
    )
    where.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="what evaluates (default: auto)"
    )
    where.add_argument(
        "--tiles", type=int, metavar="N", help="judge by N pieces of patch size (default: all there are)"
    )
    where.add_argument(
        "--batch-size", type=int, metavar="N", help="tiles evaluated at once (default: the plans' batch size)"
    )
    where.add_argument(
        "--cache",
        type=float,
        default=1.0,
        metavar="GB",
        help="memory for the maps that a candidate shares with the one before it (default: 1)",
    )


def run(args: argparse.Namespace) -> None:
    """Run the search."""
    for name in ("tiles", "batch_size"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')}: got {getattr(args, name)}, wanted 1 or more")
    from nnunet_mamba.search.evolution import Evolution
    from nnunet_mamba.search.run import Search, run_search

    evolution = Evolution(
        args.population, args.generations, args.parents, args.mutants, args.crossovers, args.mutation_rate
    )
    search = Search(
        args.dataset,
        int(args.fold) if args.fold.isdecimal() else args.fold,
        args.configuration,
        args.plans,
        args.trainer,
        args.checkpoint,
        args.device,
        args.storage,
        args.tiles,
        args.batch_size,
        args.cache,
        args.seed,
    )
    run_search(search, evolution)
