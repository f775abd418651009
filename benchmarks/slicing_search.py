"""Candidates per minute of the slicing search, with and without the maps kept from the last candidate.

The paper's evolution breeds candidates towards an arbitrary slicing, on a supernet with random weights and images of
noise: speed does not depend on what a network has learned. Each candidate is evaluated both ways. Prints the result and
writes it as JSON.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

import numpy as np
import optuna
import torch
from tqdm import tqdm

from nnunet_mamba.networks import SliceMambaSupernet
from nnunet_mamba.search.evolution import Evolution, EvolutionSampler
from nnunet_mamba.search.fitness import Tile
from nnunet_mamba.search.judge import Judge
from nnunet_mamba.search.supernet import TrainedSupernet

OUT = Path(__file__).parent / "results" / "slicing_search_cpu.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs=4, default=(96, 192, 384, 768))
    parser.add_argument("--size", type=int, nargs=2, default=(192, 256), help="size of a tile (default: 192 256)")
    parser.add_argument("--tiles", type=int, default=4)
    parser.add_argument("--population", type=int, default=12)
    parser.add_argument("--generations", type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    network = SliceMambaSupernet(3, 2, dims=args.dims).eval()
    generator = np.random.default_rng(0)
    size = tuple(args.size)
    everywhere = np.ones((1, *size), bool)
    images = generator.normal(size=(args.tiles, 3, *size)).astype(np.float32)
    trained = TrainedSupernet(
        network=network,
        cases=[str(i) for i in range(args.tiles)],
        tiles=[Tile(i, image, truth=everywhere, counted=everywhere) for i, image in enumerate(images)],
        classes=1,
        regions=False,
        batch_size=args.tiles,
        digest="",
    )
    judges = {
        name: Judge(trained, torch.device("cpu"), batch_size=args.tiles, kept_bytes=kept)
        for name, kept in (("kept", 2**33), ("anew", 0))
    }
    seconds = dict.fromkeys(judges, 0.0)
    wanted = generator.integers(4, size=len(network.blocks))

    def objective(trial: optuna.Trial) -> float:
        path = [trial.suggest_categorical(f"block{i:02}", range(4)) for i in range(len(network.blocks))]
        found = []
        for name, judge in judges.items():
            started = perf_counter()
            found.append(judge(path))
            seconds[name] += perf_counter() - started
        assert np.allclose(*found)
        return float(np.mean(wanted == path))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    half = args.population // 2
    evolution = Evolution(
        population=args.population,
        generations=args.generations,
        parents=max(1, args.population // 5),
        mutants=half,
        crossovers=half,
    )
    study = optuna.create_study(direction="maximize", sampler=EvolutionSampler(evolution, len(network.blocks), 4))
    for judge in judges.values():
        judge([0] * len(network.blocks))  # compiles the scan
        judge.computed_blocks = judge.asked_blocks = 0
    for _ in tqdm(range(evolution.candidates), unit="candidate"):
        study.optimize(objective, n_trials=1)
    report = {
        "on": {"threads": torch.get_num_threads(), "torch": torch.__version__},
        "tiles": [args.tiles, 3, *size],
        "dims": list(args.dims),
        "evolution": asdict(evolution),
        "candidates_per_minute": {name: round(60 * evolution.candidates / spent, 2) for name, spent in seconds.items()},
        "share_of_blocks_computed": round(judges["kept"].computed_blocks / judges["kept"].asked_blocks, 3),
        "kept_over_anew": round(seconds["anew"] / seconds["kept"], 2),
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
