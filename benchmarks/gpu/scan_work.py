"""The work of a scan: its inputs in four orders, the bytes that it cannot avoid, and the rate of the memory."""

import torch
from torch import Tensor

from measure import interleaved
from nnunet_mamba.ops import ScanOrders, cross_scan_orders

COPIED = 2**30  # bytes
ROUNDS = 5


def directional_inputs(
    shape: tuple[int, int, int], size: tuple[int, int], directions: int, states: int, device: str
) -> tuple[dict[str, Tensor], ScanOrders]:
    """Arguments of directional_scan, all with gradients. `shape` is (B, D, L), its D channels are of all directions."""
    batch, rows, length = shape
    channels = rows // directions
    draw = torch.Generator().manual_seed(0)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=draw)

    tensors = {
        "u": normal(batch, channels, length),
        "delta": normal(batch, directions, channels, length),
        "A": -torch.arange(1.0, states + 1).repeat(directions, channels, 1),
        "B": normal(batch, directions, states, length),
        "C": normal(batch, directions, states, length),
        "D": torch.ones(directions, channels),
        "delta_bias": normal(directions, channels) - 3,
    }
    orders = cross_scan_orders(*size, torch.device(device))
    return {name: x.to(device).requires_grad_() for name, x in tensors.items()}, orders


def least_bytes(inputs: dict[str, Tensor], both: bool) -> int:
    """What a forward, or forward and backward, must read and write at least: each map once per pass."""
    sizes = {name: x.numel() * x.element_size() for name, x in inputs.items()}
    output = sizes["u"]
    forward = sum(sizes.values()) + output
    backward = 2 * sum(sizes.values()) + output  # reads them and the output's gradient, writes their gradients
    return forward + backward if both else forward


def copy_rate(device: str) -> float:
    """Bytes per second that a large copy reads and writes."""
    size = COPIED if device == "cuda" else COPIED // 16
    source, target = torch.ones(size // 4, device=device), torch.empty(size // 4, device=device)
    return 2 * size / interleaved({"copy": lambda: target.copy_(source)}, ROUNDS)["copy"]
