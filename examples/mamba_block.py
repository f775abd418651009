"""A Mamba block on a CPU: selective_scan in the place of mamba_ssm's selective_scan_fn."""

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from nnunet_mamba.ops import (
    selective_scan as selective_scan_fn,
)  # from mamba_ssm.ops.selective_scan_interface import ...


class MambaBlock(nn.Module):
    """Mamba (Gu and Dao 2023, figure 3): (B, L, C) -> (B, L, C)."""

    def __init__(self, dim, states=16, rank=4):
        super().__init__()
        inner, self.sizes = 2 * dim, (rank, states, states)
        self.in_proj = nn.Linear(dim, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, 4, padding=3, groups=inner)
        self.x_proj = nn.Linear(inner, sum(self.sizes), bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        nn.init.constant_(self.dt_proj.bias, -4)  # small steps at first, so that the state remembers
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, states + 1)).repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, dim, bias=False)

    def forward(self, x):
        u, z = self.in_proj(x).transpose(1, 2).chunk(2, dim=1)
        u = nn.functional.silu(self.conv(u)[..., : x.shape[1]])
        dt, B, C = self.x_proj(u.transpose(1, 2)).split(self.sizes, dim=2)
        delta = (dt @ self.dt_proj.weight.t()).transpose(1, 2)
        A, B, C = -torch.exp(self.A_log), B.transpose(1, 2), C.transpose(1, 2)
        y = selective_scan_fn(u, delta, A, B, C, self.D, z, self.dt_proj.bias, delta_softplus=True)
        return self.out_proj(y.transpose(1, 2))


def main(steps=200, length=64, tokens=32):
    """Learn to say at each step whether token 0 has come by. Returns the accuracy on new sequences."""
    network = nn.Sequential(nn.Embedding(tokens, 32), MambaBlock(32), nn.Linear(32, 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(steps):
        words = torch.randint(tokens, (32, length))
        seen = (words == 0).cumsum(1) > 0
        loss = binary_cross_entropy_with_logits(network(words)[..., 0], seen.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    words = torch.randint(tokens, (256, length))
    with torch.inference_mode():
        return ((network(words)[..., 0] > 0) == ((words == 0).cumsum(1) > 0)).float().mean().item()


if __name__ == "__main__":
    print(f"accuracy: {main():.3f}")
