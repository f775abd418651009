"""Bidirectional Slice Scan (BSS) and the S3 block around it (SliceMamba, Fan et al. 2025)."""

from collections.abc import Sequence

import torch
from dynamic_network_architectures.building_blocks.regularization import DropPath
from torch import Tensor, nn

from nnunet_mamba.blocks.ss2d import SS2D
from nnunet_mamba.ops import ScanOrders, slice_scan_orders

ANY_SLICES = (0, 0)  # in a state dict; shaped like real slices, because nnU-Net compares shapes of pretrained weights


class SliceScan2D(SS2D):
    """SS2D that walks the map in slices, so that neighbours stay close in the sequence.

    The published code returns the positions of non-square maps in the wrong order, and refuses maps that the slices do
    not divide. Here every result returns to its position, and the last slice may be narrower.

    The slices are part of `state_dict`, because weights only fit the walk that they were trained on. Weights that were
    not trained on any slices carry `ANY_SLICES` instead: loading them keeps the module's slices.

    Args:
        slices: (h, w): the rows of a horizontal slice and the columns of a vertical one.
    Shape:
        (B, H, W, C) -> (B, H, W, C).
    """

    def __init__(self, d_model: int, slices: Sequence[int], d_state: int = 16):
        super().__init__(d_model, d_state)
        height, width = slices
        self.slices = (height, width)

    def orders(self, height: int, width: int, device: torch.device) -> ScanOrders:
        return slice_scan_orders(height, width, *self.slices, device)

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.slices)

    def set_extra_state(self, state: Tensor) -> None:
        height, width = state.tolist()
        if (height, width) != ANY_SLICES:
            self.slices = (height, width)

    def extra_repr(self) -> str:
        return f"slices={self.slices}"


class S3Block(nn.Module):
    """x + BSS(LayerNorm(x)); training drops the second term at random (stochastic depth).

    Shape:
        (B, H, W, C) -> (B, H, W, C).
    """

    def __init__(self, dim: int, slices: Sequence[int], drop_path: float = 0.0):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.scan = SliceScan2D(dim, slices)
        self.drop_path = DropPath(drop_path)

    @property
    def slices(self) -> tuple[int, int]:
        return self.scan.slices

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.scan(self.norm(x)))
