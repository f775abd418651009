"""SliceMamba (Fan et al., IEEE JBHI 2025): a Mamba U-Net that scans its maps in slices."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nnunet_mamba.blocks.patches import PatchEmbedding, PatchExpanding, PatchMerging
from nnunet_mamba.blocks.slice_scan import S3Block
from nnunet_mamba.networks.input_size import check_channels, padded, padded_size

SLICES = ((2, 2), (2, 4), (4, 2), (4, 4))  # (h, w) that the paper's search chooses from, a pair for every block
DEFAULT_SLICES = (4, 4)
PATCH = 4


class SliceMamba(nn.Module):
    """Four stages of S3 blocks down with patch merging, four up with patch expanding, added skips, and a 1x1 head.

    Images of any size: padded with zeros below and to the right to multiples of 32, the logits cropped back. A network can run
    on images of another size than it was trained on.

    Args:
        in_channels: channels of the image.
        num_classes: channels of the logits: classes with the background, or regions, or 1.
        slicing: a pair (h, w) for each block, those of the encoder first; None is (4, 4) everywhere.
        depths, depths_decoder: blocks in each stage; the decoder's from the deepest on.
        dims: channels of the encoder's stages, each twice the one before.
        drop_path: stochastic depth of the last block; it grows to there from 0.
    Shape:
        (B, in_channels, H, W) -> logits (B, num_classes, H, W).
    Raises:
        ValueError: `slicing` is not a pair of positive integers for each block, `dims` do not double, `dims` or depths differ in
            length, or an input is not of the channels built for.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        slicing: Sequence[Sequence[int]] | None = None,
        depths: Sequence[int] = (2, 2, 9, 2),
        depths_decoder: Sequence[int] = (2, 2, 2, 1),
        dims: Sequence[int] = (96, 192, 384, 768),
        drop_path: float = 0.2,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.depths, self.depths_decoder, self.dims = tuple(depths), tuple(depths_decoder), tuple(dims)
        _check_widths(self.depths, self.depths_decoder, self.dims)
        blocks = sum(self.depths) + sum(self.depths_decoder)
        self.slicing = check_slicing([DEFAULT_SLICES] * blocks if slicing is None else slicing, blocks)
        slices = iter(self.slicing)
        rates = torch.linspace(0, drop_path, sum(self.depths)).tolist()
        rates_decoder = torch.linspace(0, drop_path, sum(self.depths_decoder)).flip(0).tolist()
        rate = iter(rates + rates_decoder)

        def stage(dim: int, depth: int) -> nn.Sequential:
            return nn.Sequential(*(self._block(dim, next(slices), next(rate)) for _ in range(depth)))

        self.embedding = PatchEmbedding(in_channels, self.dims[0], PATCH)
        self.encoder = nn.ModuleList(stage(dim, depth) for dim, depth in zip(self.dims, self.depths, strict=True))
        self.merging = nn.ModuleList(PatchMerging(dim) for dim in self.dims[:-1])
        upwards = self.dims[::-1]
        self.decoder = nn.ModuleList(stage(dim, depth) for dim, depth in zip(upwards, self.depths_decoder, strict=True))
        self.expanding = nn.ModuleList(PatchExpanding(dim, dim // 2, 2) for dim in upwards[:-1])
        self.final_expanding = PatchExpanding(self.dims[0], self.dims[0] // PATCH, PATCH)
        self.seg_layers = nn.Conv2d(self.dims[0] // PATCH, num_classes, 1)
        self.apply(_initialise)

    def _block(self, dim: int, slices: tuple[int, int], drop_path: float) -> nn.Module:
        return S3Block(dim, slices, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        check_channels(self, x)
        height, width = x.shape[2:]
        x = self.embedding(padded(x, padded_size((height, width), PATCH << (len(self.dims) - 1))))
        skips = []
        for stage, merge in zip(self.encoder, [*self.merging, nn.Identity()], strict=True):
            skips.append(x)
            x = merge(stage(x))
        x = self.decoder[0](x)
        for expand, stage in zip(self.expanding, list(self.decoder)[1:], strict=True):
            x = stage(expand(x + skips.pop()))
        logits = self.seg_layers(self.final_expanding(x).permute(0, 3, 1, 2))
        return logits[..., :height, :width]


class SliceMambaSupernet(SliceMamba):
    """SliceMamba with a block for each choice of slices at each place; a forward runs one of them, the path.

    Args:
        choices: pairs (h, w) to choose from. The others are those of `SliceMamba`.
    Shape:
        (B, in_channels, H, W) -> logits (B, num_classes, H, W), by the path that `set_path` chose, at first the first choices.
    """

    def __init__(self, in_channels: int, num_classes: int, choices: Sequence[Sequence[int]] = SLICES, **sizes):
        self.choices = check_slicing(choices, len(choices))
        super().__init__(in_channels, num_classes, **sizes)
        self.places = [place for stage in [*self.encoder, *self.decoder] for place in stage]
        self.set_path([0] * len(self.places))

    def _block(self, dim: int, slices: tuple[int, int], drop_path: float) -> nn.Module:
        return _Place(S3Block(dim, choice, drop_path) for choice in self.choices)

    def set_path(self, path: Sequence[int]) -> None:
        """Choose a block at each place: indices into `choices`, the encoder's first.

        Raises:
            ValueError: not an index for each place.
        """
        path = [int(choice) for choice in path]
        if len(path) != len(self.places) or not all(0 <= choice < len(self.choices) for choice in path):
            raise ValueError(
                f"path: got {path}, wanted {len(self.places)} indices of choices, 0 to {len(self.choices) - 1} each"
            )
        for place, choice in zip(self.places, path, strict=True):
            place.chosen = choice

    def slicing_of(self, path: Sequence[int]) -> list[tuple[int, int]]:
        """What `SliceMamba` takes as `slicing`."""
        return [self.choices[choice] for choice in path]


class _Place(nn.ModuleList):
    """The blocks to choose from at one place."""

    chosen = 0

    def forward(self, x: Tensor) -> Tensor:
        return self[self.chosen](x)


def check_slicing(slicing: Sequence[Sequence[int]], blocks: int) -> tuple[tuple[int, int], ...]:
    """`slicing` as a pair of integers for each block; a ValueError where it is anything else."""
    pairs = tuple(tuple(pair) for pair in slicing)
    if len(pairs) != blocks:
        raise ValueError(f"slicing: got {len(pairs)} pairs, wanted {blocks}, one (h, w) for each block, the encoder's first")
    for i, pair in enumerate(pairs):
        if len(pair) != 2 or not all(isinstance(size, int) and size > 0 for size in pair):
            raise ValueError(f"slicing: got {pair} for block {i}, wanted (h, w), rows and columns of a slice, 1 or more each")
    return pairs


def _check_widths(depths: tuple[int, ...], depths_decoder: tuple[int, ...], dims: tuple[int, ...]) -> None:
    if not len(depths) == len(depths_decoder) == len(dims) > 0:
        raise ValueError(
            f"depths, depths_decoder and dims: got {len(depths)}, {len(depths_decoder)} and {len(dims)} stages, wanted as many of each"
        )
    if any(2 * before != after for before, after in zip(dims, dims[1:])) or dims[0] % PATCH:
        raise ValueError(f"dims: got {dims}, wanted each twice the one before, the first a multiple of {PATCH}")


def _initialise(module: nn.Module) -> None:
    """As Swin transformers begin; the scan's own parameters keep Mamba's initialisation."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
