"""What the scan is compared with: mambapy's parallel scan, the sequential loop, and directions as copied maps."""

import importlib.util
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from nnunet_mamba.blocks.ss2d import SS2D
from nnunet_mamba.ops import ScanOrders, selective_scan


def scan_inputs(batch: int, channels: int, length: int, states: int, device: str) -> dict[str, Tensor]:
    """Arguments of selective_scan as in a trained network. All require gradients."""
    draw = torch.Generator().manual_seed(0)
    tensors = {
        "u": torch.randn(batch, channels, length, generator=draw),
        "delta": torch.randn(batch, channels, length, generator=draw),
        "A": -torch.arange(1.0, states + 1).repeat(channels, 1),
        "B": torch.randn(batch, states, length, generator=draw),
        "C": torch.randn(batch, states, length, generator=draw),
        "D": torch.ones(channels),
        "delta_bias": torch.randn(channels, generator=draw) - 3,
    }
    return {name: x.to(device).requires_grad_() for name, x in tensors.items()}


def mambapy_scan(u, delta, A, B, C, D, delta_bias, delta_softplus) -> Tensor:
    """The same scan by mambapy's `pscan`, called like in its Mamba block; (B, D, L) in and out."""
    from mambapy.mamba import MambaBlock

    assert delta_softplus
    step = softplus(delta + delta_bias[:, None])
    mapped = (x.transpose(1, 2) for x in (u, step))
    return MambaBlock.selective_scan(None, *mapped, A, B.transpose(1, 2), C.transpose(1, 2), D).transpose(1, 2)


def mamba_ssm_is_installed() -> bool:
    return importlib.util.find_spec("selective_scan_cuda") is not None


def sequential_scan(**inputs) -> Tensor:
    return selective_scan(**inputs, engine="reference")


def directional_by(scan: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A directional scan that gathers maps along each order, runs `scan` per direction, and scatters the results."""

    def directional(u, delta, A, B, C, D, delta_bias, orders, engine=None):
        total = torch.zeros_like(u)
        for k, order in enumerate(orders.positions):
            gathered = [x.index_select(2, order) for x in (u, delta[:, k], B[:, k], C[:, k])]
            arguments = dict(zip(("u", "delta", "B", "C"), gathered, strict=True))
            y = scan(**arguments, A=A[k], D=D[k], delta_bias=delta_bias[k], delta_softplus=True)
            total = total.index_add(2, order, y)
        return total

    return directional


class MaterialisedSS2D(SS2D):
    """The block as in a port of the published code: flipped and transposed maps, no orders. The engine is the same."""

    def _scan(self, x: Tensor, orders: ScanOrders) -> Tensor:
        batch, channels, length = x.shape
        width = int(orders.positions[1, 1])  # the second direction walks down a column
        columns = x.unflatten(2, (-1, width)).transpose(2, 3).flatten(2)
        xs = torch.stack([x, columns, x.flip(-1), columns.flip(-1)], dim=1)  # (B, 4, D, L)
        steered = torch.einsum("bkdl,kcd->bkcl", xs, self.x_proj_weight)
        dt, B, C = steered.split([self.dt_rank, self.d_state, self.d_state], dim=2)
        y = selective_scan(
            xs.flatten(1, 2),
            torch.einsum("bkrl,kdr->bkdl", dt, self.dt_projs_weight).flatten(1, 2),
            -torch.exp(self.A_logs),
            B,
            C,
            self.Ds,
            delta_bias=self.dt_projs_bias.flatten(),
            delta_softplus=True,
        ).view(batch, 4, channels, length)
        rows, columns = (y[:, :2] + y[:, 2:].flip(-1)).unbind(1)
        return rows + columns.unflatten(2, (width, -1)).transpose(2, 3).flatten(2)
