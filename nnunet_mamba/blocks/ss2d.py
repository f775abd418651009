"""SS2D, the selective scan over a map in four directions (VMamba, Liu et al. 2024), and the VSS block around it."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from nnunet_mamba.blocks.grouped import GroupedConv2d
from nnunet_mamba.blocks.linear import Linear
from nnunet_mamba.blocks.norm import LayerNorm
from nnunet_mamba.ops import ScanOrders, cross_scan_orders, projected_scan
from nnunet_mamba.ops.products import linear

DIRECTIONS = 4


class SS2D(nn.Module):
    """Projects in, convolves depthwise, scans along rows and columns both ways, gates and projects out.

    Under autocast, and in a network of half precision, the scan and the projections to its parameters stay in float32:
    their exponentials overflow half precision. Parameters have the same names as in VMamba.

    Args:
        d_model: channels of the map.
        d_state: states per channel.
        expand: the scan has `expand * d_model` channels.
    Shape:
        (B, H, W, C) -> (B, H, W, C).
    """

    def __init__(self, d_model: int, d_state: int = 16, expand: int = 2):
        super().__init__()
        self.d_inner = expand * d_model
        self.d_state = d_state
        self.dt_rank = math.ceil(d_model / 16)
        self.in_proj = Linear(d_model, 2 * self.d_inner, bias=False)
        self.conv2d = GroupedConv2d(self.d_inner, self.d_inner, 3, groups=self.d_inner)
        self.x_proj_weight = nn.Parameter(torch.empty(DIRECTIONS, self.dt_rank + 2 * d_state, self.d_inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(DIRECTIONS, self.d_inner, self.dt_rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(DIRECTIONS, self.d_inner))
        self.A_logs = nn.Parameter(torch.empty(DIRECTIONS * self.d_inner, d_state))
        self.Ds = nn.Parameter(torch.ones(DIRECTIONS * self.d_inner))
        self.out_norm = LayerNorm(self.d_inner)
        self.out_proj = Linear(self.d_inner, d_model, bias=False)
        self.reset_parameters()

    def reset_parameters(self, dt_min: float = 1e-3, dt_max: float = 1e-1) -> None:
        """Mamba's initialisation: A = -(1, ..., N), and softplus(bias) log-uniform in [dt_min, dt_max]."""
        nn.init.uniform_(self.x_proj_weight, -(self.d_inner**-0.5), self.d_inner**-0.5)
        nn.init.uniform_(self.dt_projs_weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        dt = torch.exp(torch.empty_like(self.dt_projs_bias).uniform_(math.log(dt_min), math.log(dt_max)))
        with torch.no_grad():
            self.dt_projs_bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # the inverse of softplus
            self.A_logs.copy_(torch.log(torch.arange(1.0, self.d_state + 1)).expand_as(self.A_logs))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        into_scan, into_gate = self.in_proj.weight.chunk(2)  # two products: halves of one would have to be copied
        z = linear(x, into_gate).flatten(1, 2)
        x = self.conv2d(linear(x, into_scan).permute(0, 3, 1, 2))  # channels last in memory
        x = silu(x.flatten(2).contiguous())  # channels first, for the scan
        y = self._scan(x, self.orders(height, width, x.device))
        y = self.out_norm(y.transpose(1, 2).to(self.out_norm.weight.dtype))
        return self.out_proj(y * silu(z)).unflatten(1, (height, width))

    def orders(self, height: int, width: int, device: torch.device) -> ScanOrders:
        """The four walks of a map, (4, height * width) positions."""
        return cross_scan_orders(height, width, device)

    def __prepare_scriptable__(self) -> nn.Module:
        """Called by torch.jit.script, which knows no walks."""
        raise RuntimeError("torch.jit.script does not take our scan: use `nnunet_mamba export --format torch`")

    def _scan(self, x: Tensor, orders: ScanOrders) -> Tensor:
        """(B, D, L) -> (B, D, L), in float32 or better."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        A = -torch.exp(self.A_logs.to(dtype)).view(DIRECTIONS, self.d_inner, self.d_state)
        D = self.Ds.view(DIRECTIONS, -1)
        return projected_scan(x, self.x_proj_weight, self.dt_projs_weight, A, D, self.dt_projs_bias, orders)


class VSSBlock(nn.Module):
    """x + SS2D(LayerNorm(x)) (VMamba, Liu et al. 2024, without its feed-forward part).

    Shape:
        (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, dim: int, d_state: int = 16):
        super().__init__()
        self.norm = LayerNorm(dim, eps=1e-6)
        self.ss2d = SS2D(dim, d_state)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.ss2d(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
