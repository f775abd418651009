"""SliceMamba (Fan et al., IEEE JBHI 2025): a Mamba U-Net that scans its maps in slices."""

from collections.abc import Sequence
from itertools import accumulate
from typing import ClassVar

import torch
from torch import Tensor, nn

from nnunet_mamba.blocks.patches import PatchEmbedding, PatchExpanding, PatchMerging
from nnunet_mamba.blocks.slice_scan import S3Block
from nnunet_mamba.networks.input_size import check_channels, padded, padded_size
from nnunet_mamba.networks.published import Names

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

    published_names: ClassVar[Names]

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
        slices = iter(check_slicing([DEFAULT_SLICES] * blocks if slicing is None else slicing, blocks))
        # number of the first block of each stage: number of the stage, those of the decoder after those of the encoder
        starts = accumulate((*self.depths, *self.depths_decoder), initial=0)
        self._begins = {start: stage for stage, start in enumerate(starts)}
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
        # nnU-Net leaves out what is named so when it loads pretrained weights
        self.head = nn.ModuleDict({"seg_layers": nn.Conv2d(self.dims[0] // PATCH, num_classes, 1)})
        self.places = [block for blocks in [*self.encoder, *self.decoder] for block in blocks]
        self.apply(_initialise)

    def _block(self, dim: int, slices: tuple[int, int], drop_path: float) -> nn.Module:
        return S3Block(dim, slices, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.enter(x)
        for place in range(len(self.places)):
            maps = self.advance(maps, place)
        return self.leave(maps, x.shape[2:])

    def enter(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the first block gets: maps (B, H', W', C), the present one first and then the skips, the deepest first."""
        check_channels(self, x)
        return (self.embedding(padded(x, padded_size(tuple(x.shape[2:]), PATCH << (len(self.dims) - 1)))),)

    def advance(self, maps: tuple[Tensor, ...], place: int) -> tuple[Tensor, ...]:
        """What block number `place` makes of the maps, with the change of resolution before it.

        `forward` block by block serves the search, in which candidates share their first blocks.
        """
        x, *skips = maps
        stage = self._begins.get(place, 0)
        if 0 < stage < len(self.dims):
            x = self.merging[stage - 1](x)
            skips = [x, *skips]
        elif stage > len(self.dims):
            x = self.expanding[stage - len(self.dims) - 1](x + skips.pop(0))
        return (self.places[place](x), *skips)

    def leave(self, maps: tuple[Tensor, ...], size: Sequence[int]) -> Tensor:
        """The logits (B, num_classes, *size) of the last block's maps."""
        logits = self.head["seg_layers"](self.final_expanding(maps[0]).permute(0, 3, 1, 2))
        return logits[..., : size[0], : size[1]]

    @property
    def slicing(self) -> tuple[tuple[int, int], ...]:
        """The slices of each block, those of the encoder first. They are part of `state_dict`."""
        return tuple(block.slices for block in self.places)

    def set_slicing(self, slicing: Sequence[Sequence[int]]) -> None:
        """Walk the maps by other slices; the weights stay.

        Raises:
            ValueError: `slicing` is not a pair of positive integers for each block.
        """
        for block, slices in zip(self.places, check_slicing(slicing, len(self.places)), strict=True):
            block.scan.slices = slices


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

    def set_slicing(self, slicing: Sequence[Sequence[int]]) -> None:
        """Choose the block with these slices at each place.

        Raises:
            ValueError: `slicing` is not one of `choices` for each place.
        """
        pairs = check_slicing(slicing, len(self.places))
        for place, pair in enumerate(pairs):
            if pair not in self.choices:
                raise ValueError(
                    f"slicing: got {pair} for block {place}, wanted one of {', '.join(map(str, self.choices))}"
                )
        self.set_path([self.choices.index(pair) for pair in pairs])

    def slicing_of(self, path: Sequence[int]) -> list[tuple[int, int]]:
        """What `SliceMamba` takes as `slicing`."""
        return [self.choices[choice] for choice in path]


class _Place(nn.ModuleList):
    """The blocks to choose from at one place."""

    chosen = 0

    @property
    def slices(self) -> tuple[int, int]:
        return self[self.chosen].slices

    def forward(self, x: Tensor) -> Tensor:
        return self[self.chosen](x)


def check_slicing(slicing: Sequence[Sequence[int]], blocks: int) -> tuple[tuple[int, int], ...]:
    """`slicing` as a pair of integers for each block; a ValueError where it is anything else."""
    pairs = tuple(tuple(pair) for pair in slicing)
    if len(pairs) != blocks:
        raise ValueError(
            f"slicing: got {len(pairs)} pairs, wanted {blocks}, one (h, w) for each block, the encoder's first"
        )
    for i, pair in enumerate(pairs):
        if len(pair) != 2 or not all(isinstance(size, int) and size > 0 for size in pair):
            raise ValueError(
                f"slicing: got {pair} for block {i}, wanted (h, w), rows and columns of a slice, 1 or more each"
            )
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


SliceMamba.published_names = (
    (r"^smunet\.", ""),
    (r"\bself_attention\.", "scan."),
    (r"\bln_1\.", "norm."),
    (r"^patch_embed\.proj\.", "embedding.projection."),
    (r"^patch_embed\.", "embedding."),
    (r"^layers\.(\d)\.blocks\.", r"encoder.\1."),
    (r"^layers\.(\d)\.downsample\.", r"merging.\1."),
    (r"^layers_up\.(\d)\.blocks\.", r"decoder.\1."),
    (r"^layers_up\.(\d)\.upsample\.", lambda m: f"expanding.{int(m[1]) - 1}."),
    (r"^final_up\.", "final_expanding."),
    (r"^final_conv\.", "head.seg_layers."),
)
SliceMambaSupernet.published_names = ()
