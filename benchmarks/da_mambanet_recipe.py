"""Which part of DA-MambaNet's recipe costs Dice on small classes? One change at a time.

    python benchmarks/da_mambanet_recipe.py                    about an hour on two cores
    python benchmarks/da_mambanet_recipe.py --only published --seeds 0

Generated images of 64x64 pixels, one channel, noise 0.5, hold two blobs of 1 to 3 % of the pixels with contrast 1.2 and
0.9. 100 training steps with Adam on batches of 12, then the Dice of each class, pooled over 48 new images. `batch` is
the Dice if the batch norms use the test batch's statistics instead of their running ones.

Writes benchmarks/results/da_mambanet_recipe.json.
"""

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nnunet_mamba.losses import ASFMLoss, GuideFusionLoss
from nnunet_mamba.networks import DAMambaNet, DermoMamba

RESULTS = Path(__file__).parent / "results" / "da_mambanet_recipe.json"
SIZE, BATCH, STEPS, TEST_IMAGES = 64, 12, 100, 48
CONTRASTS = np.array([0, 1.2, 0.9])  # per label


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are the trainer's."""

    network: type[nn.Module] = DAMambaNet
    loss: nn.Module = ASFMLoss()
    weights: tuple[float, ...] = (1, 1, 1)  # per output
    rate: float = 1e-3
    group_norm: bool = False


RECIPES = {
    "as it is": Recipe(),
    "published": Recipe(loss=ASFMLoss(index="product", cross_entropy=0)),
    "one output": Recipe(weights=(1,)),
    "outputs weighted 1, 1/2, 1/4": Recipe(weights=(1, 0.5, 0.25)),
    "learning rate 3e-4": Recipe(rate=3e-4),
    "learning rate 3e-3": Recipe(rate=3e-3),
    "group norm": Recipe(group_norm=True),
    "DermoMamba, same loss": Recipe(DermoMamba, weights=(1,)),
    "DermoMamba, Guide Fusion": Recipe(DermoMamba, GuideFusionLoss(), weights=(1,)),
}


def draw(count: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Images (count, 1, SIZE, SIZE) and labels, both float32."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    images = generator.normal(0, 0.5, (count, 1, SIZE, SIZE))
    labels = np.zeros((count, 1, SIZE, SIZE))
    for image, label in zip(images[:, 0], labels[:, 0]):
        for number in (1, 2):
            radius = np.sqrt(generator.uniform(0.01, 0.03) * SIZE**2 / np.pi)
            y, x = generator.uniform(radius, SIZE - radius, 2)
            blob = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
            label[blob] = number
        image += CONTRASTS[label.astype(int)]
    return torch.from_numpy(images).float(), torch.from_numpy(labels).float()


def with_group_norm(network: nn.Module) -> nn.Module:
    """Each batch norm becomes a group norm, of 4 groups where the channels allow it."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                channels = child.num_features
                setattr(module, name, nn.GroupNorm(4 if channels % 4 == 0 else 1, channels))
    return network


def train(recipe: Recipe, seed: int) -> dict:
    """Dice per class on new images, with running statistics and with the batch's."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    network = recipe.network(1, 3, (SIZE, SIZE), len(recipe.weights) > 1)
    if recipe.group_norm:
        network = with_group_norm(network)
    optimizer = torch.optim.Adam((p for p in network.parameters() if p.requires_grad), recipe.rate)
    for _ in range(STEPS):
        images, labels = draw(BATCH, generator)
        outputs = network(images)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        loss = sum(weight * recipe.loss(output, labels) for weight, output in zip(recipe.weights, outputs))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 12)  # as nnU-Net does
        optimizer.step()
    images, labels = draw(TEST_IMAGES, np.random.default_rng(12345))
    batch = dice(network.train(), images, labels)
    return {"running": dice(network.eval(), images, labels), "batch": batch}


@torch.no_grad()
def dice(network: nn.Module, images: Tensor, labels: Tensor) -> list[float]:
    """In training mode running statistics are not used."""
    outputs = [network(part) for part in images.split(BATCH)]
    predicted = torch.cat([out if isinstance(out, Tensor) else out[0] for out in outputs]).argmax(1, keepdim=True)
    hits = [((predicted == i) & (labels == i)).sum() / ((predicted == i).sum() + (labels == i).sum()) for i in (1, 2)]
    return [round(2 * float(hit), 3) for hit in hits]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in args.only:
        for seed in args.seeds:
            found.setdefault(name, {})
            if str(seed) not in found[name]:
                found[name][str(seed)] = train(RECIPES[name], seed)
                print(f"{name}, seed {seed}: {found[name][str(seed)]}", flush=True)
                RESULTS.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
