"""A figure of a search: fitness over generations, and the slices found per block."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from nnunet_mamba.search.evolution import Evolution, best_first, candidate_of, value_of


def plot_search(
    trials: Sequence[FrozenTrial], evolution: Evolution, result: Mapping, choices: Sequence[tuple[int, int]], file: Path
) -> None:
    """Write the figure of `trials` and of the search's `result`."""
    from matplotlib.figure import Figure

    complete = sorted((trial for trial in trials if trial.state == TrialState.COMPLETE), key=lambda trial: trial.number)
    numbers = np.array([trial.number for trial in complete])
    generations = np.minimum(numbers // evolution.population, evolution.generations - 1)
    values = np.array([value_of(trial) for trial in complete])
    figure = Figure(figsize=(9, 7), layout="constrained")
    above, below = figure.subplots(2, height_ratios=(3, 2))

    spread = np.random.default_rng(0).uniform(-0.2, 0.2, len(values))
    above.scatter(generations + spread, values, s=8, color="0.6", label="candidates")
    seen = np.unique(generations)
    above.plot(seen, [values[generations == g].mean() for g in seen], color="tab:blue", label="mean of the generation")
    above.plot(seen, [values[generations <= g].max() for g in seen], color="tab:red", label="best so far")
    random = result["random_slicings"]
    above.axhline(random["mean"], color="black", linestyle=":", label=f"random slicings, mean of {random['number']}")
    above.set(
        xlabel="generation", ylabel="fitness: mean of mIoU and Dice", title=f"{len(complete)} slicings on the supernet"
    )
    above.xaxis.get_major_locator().set_params(integer=True)
    above.legend(loc="lower right")

    best = best_first(trials)[: evolution.parents]
    paths = np.array([candidate_of(trial) for trial in best])
    shares = np.array([(paths == choice).mean(0) for choice in range(len(choices))])
    image = below.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    below.scatter(
        range(paths.shape[1]), paths[0], marker="o", facecolors="none", edgecolors="tab:red", s=90, label="found"
    )
    below.set_xticks(range(paths.shape[1]))
    below.set_yticks(range(len(choices)), [f"({h}, {w})" for h, w in choices])
    below.set(xlabel="block, the encoder's first", ylabel="slices (h, w)")
    figure.colorbar(image, ax=below, label=f"share among the best {len(best)}")
    figure.legend(handles=below.get_legend_handles_labels()[0], labels=["found"], loc="outside lower right")
    figure.savefig(file, dpi=120)
