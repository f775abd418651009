"""How many epochs to train, by the size of the data set and the device: a rule of thumb."""

import math
from typing import NamedTuple

from nnunet_mamba.planning.planner import GPU, RAM

BATCHES = 250  # of an nnU-Net epoch
DEFAULT = 1000  # nnU-Net's


class Rule(NamedTuple):
    """How often to see each training image, and the fewest and most epochs to do so in."""

    passes: int
    fewest: int
    most: int


# on a CPU an epoch takes from ten minutes to an hour
RULES = {RAM: Rule(30, 5, 20), GPU: Rule(300, 50, DEFAULT)}


def advised_epochs(kind: str, training_images: int, batch_size: int) -> int:
    """Epochs for a first good result on a CPU (RAM) or a GPU."""
    rule = RULES[kind]
    epochs = math.ceil(rule.passes * training_images / (BATCHES * batch_size))
    return min(max(epochs, rule.fewest), rule.most)


def advice(kind: str, training_images: int, batch_size: int) -> list[str]:
    """What `nnunet_mamba plan` says about it."""
    epochs, seen = advised_epochs(kind, training_images, batch_size), BATCHES * batch_size
    passes = seen / max(1, training_images)
    on = "a CPU" if kind == RAM else "a GPU"
    more = "more are for a GPU" if kind == RAM else "more may still gain a little"
    return [
        f"An epoch is {BATCHES} batches: {seen} images, each of fold 0's {training_images} training images "
        f"{passes:.3g} times.",
        f"Begin with {epochs} epochs on {on} (_{epochs}epochs after a trainer's name); {more}. "
        f"nnU-Net's default is {DEFAULT}.",
    ]
