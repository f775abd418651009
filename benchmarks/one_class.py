"""What is made for many classes must not harm one: losses, and the classes' shares as the first guess, on real images.

    nnunet_mamba convert PH2 -i PH2Dataset -d 501 --test 40
    python benchmarks/one_class.py $nnUNet_raw/Dataset501_PH2

600 training steps on batches of 4 images of 96x128 with flips. DA-MambaNet with its three outputs and Adam at 1e-3, by
ASFM as published and in other forms; DermoMamba with Guide Fusion and Adam at 1e-4, from an even guess and from shares.
All rows see the same images in the same order. Dice and IoU are the means over the test cases.

Writes benchmarks/results/one_class.json.
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from tqdm import trange

from nnunet_mamba.losses import ASFMLoss, GuideFusionLoss
from nnunet_mamba.networks import DAMambaNet, DermoMamba

RESULTS = Path(__file__).parent / "results" / "one_class.json"
SIZE, BATCH, STEPS = (96, 128), 4, 600


class Row(NamedTuple):
    network: Callable[[], nn.Module]
    rate: float
    loss: nn.Module
    shares: bool = False  # the last biases start at the classes' shares, see trainers/class_shares.py


def da_mambanet() -> nn.Module:
    return DAMambaNet(3, 2, SIZE, True)


def dermomamba() -> nn.Module:
    return DermoMamba(3, 2, SIZE, False)


ROWS = {
    "published": Row(da_mambanet, 1e-3, ASFMLoss(index="product", cross_entropy=0)),
    "root": Row(da_mambanet, 1e-3, ASFMLoss(index="root", cross_entropy=0)),
    "root and cross entropy": Row(da_mambanet, 1e-3, ASFMLoss(index="root", cross_entropy=1)),
    "DermoMamba, even guess": Row(dermomamba, 1e-4, GuideFusionLoss()),
    "DermoMamba, shares": Row(dermomamba, 1e-4, GuideFusionLoss(), shares=True),
}


def read(dataset: Path, split: str) -> tuple[Tensor, Tensor]:
    """Images (N, 3, H, W), each with mean 0 and deviation 1 per channel, and labels (N, 1, H, W), both float32."""
    images, labels = [], []
    for file in sorted((dataset / f"labels{split}").glob("*.png")):
        image = Image.open(dataset / f"images{split}" / f"{file.stem}_0000.png").convert("RGB")
        images.append(np.asarray(image.resize(SIZE[::-1], Image.Resampling.BILINEAR), np.float32))
        labels.append(np.asarray(Image.open(file).resize(SIZE[::-1], Image.Resampling.NEAREST)))
    if not images:
        raise SystemExit(f"no labels{split}/*.png in {dataset}: convert with --test")
    x = torch.from_numpy(np.stack(images)).movedim(-1, 1)
    x = (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True)
    return x, torch.from_numpy(np.stack(labels)).float()[:, None]


def train(row: Row, images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    network = row.network()
    if row.shares:
        foreground = labels.mean().item()
        for name, parameter in network.named_parameters():
            if "seg_layers" in name and name.endswith("bias"):
                parameter.data = torch.tensor([1 - foreground, foreground]).log()
    optimizer = torch.optim.Adam((p for p in network.parameters() if p.requires_grad), row.rate)
    for _ in trange(STEPS, mininterval=30):
        chosen = generator.choice(len(images), BATCH, replace=False)
        axes = [axis for axis in (2, 3) if generator.random() < 0.5]
        x, target = images[chosen].flip(axes), labels[chosen].flip(axes)
        outputs = network(x)
        total = sum(row.loss(output, target) for output in ([outputs] if isinstance(outputs, Tensor) else outputs))
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 12)  # as nnU-Net does
        optimizer.step()
    return network.eval()


@torch.no_grad()
def test(network: nn.Module, images: Tensor, labels: Tensor) -> dict:
    dice, iou = [], []
    for image, label in zip(images, labels):
        predicted, truth = network(image[None]).argmax(1)[0] > 0, label[0] > 0
        both, either = int((predicted & truth).sum()), int((predicted | truth).sum())
        dice.append(2 * both / (both + either))
        iou.append(both / either)
    return {"dice": round(float(np.mean(dice)), 4), "iou": round(float(np.mean(iou)), 4), "cases": len(dice)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path, help="a data set of one class in nnUNet_raw, with test cases")
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    training, held_out = read(args.dataset, "Tr"), read(args.dataset, "Ts")
    for name in args.only:
        for seed in args.seeds:
            network = train(ROWS[name], *training, seed)
            network.deep_supervision = False
            row = test(network, *held_out)
            print(f"{name}, seed {seed}: {row}", flush=True)
            found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}  # others may have written meanwhile
            found.setdefault(name, {})[str(seed)] = row
            RESULTS.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
