"""Cost of the Guide Fusion loss's distances to boundaries, relative to a DermoMamba training step.

    python benchmarks/guide_fusion.py

Times four things in turn: a training step without distances (it reuses the attention of an earlier step); one with
distances that a thread computes while the network runs, as in our trainers on a CPU; one with distances in the loss;
the distances only.
"""

import argparse
import json
from pathlib import Path
from unittest.mock import patch

import torch

from measure import interleaved
from nnunet_mamba.losses import GuideFusionLoss
from nnunet_mamba.losses.boundary_attention import boundary_attention
from nnunet_mamba.networks import DermoMamba

RESULTS = Path(__file__).parent / "results"
SIZE = (192, 256)
ATTENTION = "nnunet_mamba.losses.guide_fusion.boundary_attention"


def discs(batch: int, device: str) -> torch.Tensor:
    """Label maps with a disc the size of a lesion."""
    rows, columns = torch.meshgrid(*(torch.arange(size) for size in SIZE), indexing="ij")
    centres = torch.randint(70, 120, (batch, 2, 1, 1), generator=torch.Generator().manual_seed(0))
    inside = (rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2 < 50**2
    return inside[:, None].long().to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    network, loss = DermoMamba(3, 2, SIZE).to(args.device).train(), GuideFusionLoss()
    images, target = torch.randn(args.batch, 3, *SIZE, device=args.device), discs(args.batch, args.device)
    attention = boundary_attention(target)

    def step(prepare: bool) -> None:
        if prepare:
            loss.prepare(target, 2)
        loss(network(images), target).backward()
        network.zero_grad()

    def step_without() -> None:
        with patch(ATTENTION, lambda *_: attention):
            step(prepare=False)

    times = interleaved(
        {
            "without": step_without,
            "in a thread": lambda: step(prepare=True),
            "in the loss": lambda: step(prepare=False),
            "distances": lambda: boundary_attention(target),
        },
        args.rounds,
    )
    row = {"batch": args.batch, "size": SIZE, "seconds": times}
    row |= {
        f"{name}: share of the training step": round(times[name] / times["without"] - 1, 4)
        for name in ("in a thread", "in the loss")
    }
    row["distances only: share of the training step"] = round(times["distances"] / times["without"], 4)
    print("\n".join(f"{key:40} {value}" for key, value in row.items()))
    file = RESULTS / f"guide_fusion_{args.device}.json"
    file.write_text(json.dumps(row, indent=2) + "\n")
    print(f"written to {file}")


if __name__ == "__main__":
    main()
