"""Evaluates candidates with the supernet; maps of the blocks that consecutive candidates share are reused."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nnunet_mamba.search.fitness import Fitness, count, fitness_of
from nnunet_mamba.search.supernet import TrainedSupernet


class Judge:
    """Computes the fitness of paths through a supernet.

    Blocks have no batch norm, so their maps depend only on the image and on the choices so far. The maps after each
    block of the last candidate are kept, and the next candidate is computed from the first block that differs.

    Args:
        batch_size: tiles per forward pass.
        kept_bytes: memory for kept maps; batches that do not fit are computed from the first block on.
    """

    def __init__(self, supernet: TrainedSupernet, device: torch.device, batch_size: int, kept_bytes: float = 2**30):
        self.network = supernet.network.to(device)
        self.device = device
        self.classes, self.regions = supernet.classes, supernet.regions
        self.cases = 1 + max(tile.case for tile in supernet.tiles)
        tiles = supernet.tiles
        self.batches = [_Batch(tiles[i : i + batch_size], device) for i in range(0, len(tiles), batch_size)]
        self.kept_bytes = kept_bytes
        self.computed_blocks = self.asked_blocks = 0

    @torch.inference_mode()
    def __call__(self, path: Sequence[int]) -> Fitness:
        """The fitness of the candidate with choice path[i] in block i."""
        self.network.set_path(path)
        counts = torch.zeros(self.cases, self.classes, 3, dtype=torch.int64)
        left = self.kept_bytes
        for batch in self.batches:
            with torch.autocast(self.device.type, enabled=self.device.type == "cuda"):
                logits, left = self._logits(batch, tuple(path), left)
            found = count(logits, batch.truth.to(self.device), batch.counted.to(self.device), self.regions)
            counts.index_add_(0, batch.cases, found.cpu())
        return fitness_of(counts)

    def _logits(self, batch: "_Batch", path: tuple[int, ...], left: float) -> tuple[Tensor, float]:
        """The logits of a batch, and the bytes left for kept maps."""
        if not batch.kept:
            batch.kept = [self.network.enter(batch.images.to(self.device))]
        shared = 0
        while shared < len(batch.kept) - 1 and path[shared] == batch.path[shared]:
            shared += 1
        kept, batch.path = batch.kept[: shared + 1], path
        for block in range(shared, len(path)):
            kept.append(self.network.advance(kept[-1], block))
        self.asked_blocks += len(path)
        self.computed_blocks += len(path) - shared
        logits = self.network.leave(kept[-1], batch.images.shape[2:])
        # skips are the same tensors in the maps after every block: count each once
        size = sum(tensor.nbytes for tensor in {id(tensor): tensor for maps in kept for tensor in maps}.values())
        batch.kept = kept if size <= left else []
        return logits, left - size if batch.kept else left


class _Batch:
    """Tiles as tensors, and the last candidate's maps."""

    def __init__(self, tiles: Sequence, device: torch.device):
        self.cases = torch.tensor([tile.case for tile in tiles])
        self.images, self.truth, self.counted = (
            torch.from_numpy(np.stack([getattr(tile, part) for tile in tiles]))
            for part in ("image", "truth", "counted")
        )
        self.path: tuple[int, ...] = ()
        self.kept: list[tuple[Tensor, ...]] = []
