"""Search SliceMamba's slicing for a data set: evolve it on held-out cases with a trained supernet."""

import argparse

from nnunet_mamba import catalogue


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The supernet, the evolution, and the work."""
    what = parser.add_argument_group("the supernet", "the same options as for nnUNetv2_train")
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
    how.add_argument("--population", type=int, default=50, help="candidates per generation (default: 50)")
    how.add_argument(
        "--generations", type=int, default=20, help="generations, including the random first one (default: 20)"
    )
    how.add_argument("--parents", type=int, default=10, help="number of best candidates to breed from (default: 10)")
    how.add_argument("--mutants", type=int, default=25, help="mutants per generation (default: 25)")
    how.add_argument("--crossovers", type=int, default=25, help="crossovers per generation (default: 25)")
    how.add_argument(
        "--mutation-rate", type=float, default=0.1, help="probability that a block of a mutant changes (default: 0.1)"
    )
    how.add_argument("--seed", type=int, default=0, help="seed of all random draws (default: 0)")

    where = parser.add_argument_group("the work")
    where.add_argument(
        "--storage",
        metavar="URL_OR_FILE",
        help="where the search is stored, to be resumed or shared: sqlite:///..., postgresql://... (needs psycopg), "
        "mysql+pymysql://... (needs PyMySQL), or a journal FILE.log on a shared disk. "
        "Searches on the same storage share the work (default: search.db beside the supernet's checkpoint)",
    )
    where.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="device to evaluate on (default: auto)"
    )
    where.add_argument("--tiles", type=int, metavar="N", help="evaluate on N patch-sized tiles (default: all)")
    where.add_argument(
        "--batch-size", type=int, metavar="N", help="tiles per forward pass (default: the plans' batch size)"
    )
    where.add_argument(
        "--cache",
        type=float,
        default=1.0,
        metavar="GB",
        help="memory for the maps that consecutive candidates share (default: 1)",
    )


def run(args: argparse.Namespace) -> None:
    """Run the search."""
    for name in ("tiles", "batch_size"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')}: got {getattr(args, name)}, wanted 1 or more")
    from nnunet_mamba.search.evolution import Evolution
    from nnunet_mamba.search.run import Search, run_search

    evolution = Evolution(
        population=args.population,
        generations=args.generations,
        parents=args.parents,
        mutants=args.mutants,
        crossovers=args.crossovers,
        mutation_rate=args.mutation_rate,
    )
    search = Search(
        dataset=args.dataset,
        fold=int(args.fold) if args.fold.isdecimal() else args.fold,
        configuration=args.configuration,
        plans=args.plans,
        trainer=args.trainer,
        checkpoint=args.checkpoint,
        device=args.device,
        storage=args.storage,
        tiles=args.tiles,
        batch_size=args.batch_size,
        kept_gigabytes=args.cache,
        seed=args.seed,
    )
    try:
        run_search(search, evolution)
    except KeyboardInterrupt as stop:
        stop.args = ("run the same command again, and the search resumes",)
        raise
