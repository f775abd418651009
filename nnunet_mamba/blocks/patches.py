"""Patch embedding, merging and expanding: channels-last layers that change resolution (Swin-Unet, VM-UNet)."""

from torch import Tensor, nn

from nnunet_mamba.blocks.linear import Linear


class PatchEmbedding(nn.Module):
    """A convolution over non-overlapping patches, then layer norm.

    Shape:
        (B, in_channels, H, W) -> (B, H / patch, W / patch, dim).
    """

    def __init__(self, in_channels: int, dim: int, patch: int = 4):
        super().__init__()
        self.projection = nn.Conv2d(in_channels, dim, patch, stride=patch)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.projection(x).permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """Merges 2x2 positions into one with twice the channels.

    Shape:
        (B, H, W, C) -> (B, H / 2, W / 2, 2C), H and W even.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # (B, H / 2, 2, W / 2, 2, C)
        return self.reduction(self.norm(rows.permute(0, 1, 3, 4, 2, 5).flatten(3)))


class PatchExpanding(nn.Module):
    """Expands each position into `scale` x `scale` positions with fewer channels.

    Shape:
        (B, H, W, dim) -> (B, scale H, scale W, out_channels).
    """

    def __init__(self, dim: int, out_channels: int, scale: int):
        super().__init__()
        self.scale = scale
        self.expand = Linear(dim, scale * scale * out_channels, bias=False)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.expand(x).unflatten(3, (self.scale, self.scale, -1))  # (B, H, W, scale, scale, C)
        return self.norm(x.transpose(2, 3).flatten(3, 4).flatten(1, 2))
