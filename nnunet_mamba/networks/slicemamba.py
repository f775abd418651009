"""SliceMamba (Fan et al., IEEE JBHI 2025): a Mamba U-Net that scans its maps in slices."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nnunet_mamba.blocks.patches import PatchEmbedding, PatchExpanding, PatchMerging
from nnunet_mamba.blocks.slice_scan import S3Block
from nnunet_mamba.networks.input_size import check_channels, padded, padded_size
from nnunet_mamba.networks.published import Names

SLICES = ((2, 2), (2, 4), (4, 2), (4, 4))  # (h, w): the paper's choices per block
DEFAULT_SLICES = (4, 4)
PATCH = 4


class SliceMamba(nn.Module):
    """Four stages of S3 blocks down with patch merging, four up with patch expanding, added skips, and a 1x1 head.

    Images may have any size, not only the size in training. They are padded with zeros below and to the right to
    multiples of 32, and the logits are cropped back.

    Args:
        in_channels: channels of the image.
        num_classes: channels of the logits: classes including the background, or regions, or 1.
        slicing: a pair (h, w) per block, the encoder's blocks first; None means (4, 4) everywhere.
        depths, depths_decoder: blocks per stage; the decoder's stages start at the deepest.
        dims: channels of the encoder's stages, each twice the one before.
        drop_path: the highest rate of stochastic depth, at the deepest blocks; the first and the last block have 0.
    Shape:
        (B, in_channels, H, W) -> logits (B, num_classes, H, W).
    Raises:
        ValueError: `slicing` is not a pair of positive integers per block, `dims` do not double, `dims` and depths
            differ in length, or an input has another number of channels.
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
        count = sum(self.depths) + sum(self.depths_decoder)
        slices = iter(check_slicing([DEFAULT_SLICES] * count if slicing is None else slicing, count))
        # {index of a stage's first block: index of the stage}; the decoder's stages follow the encoder's
        starts = accumulate((*self.depths, *self.depths_decoder), initial=0)
        self._stage_at = {start: stage for stage, start in enumerate(starts)}
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
        # nnU-Net's -pretrained_weights skips what is named seg_layers
        self.head = nn.ModuleDict({"seg_layers": nn.Conv2d(self.dims[0] // PATCH, num_classes, 1)})
        # the encoder's first; S3Block, or _BlockPerChoice in a supernet
        self.blocks: list[Any] = [block for blocks in [*self.encoder, *self.decoder] for block in blocks]
        self.apply(_initialise)

    def _block(self, dim: int, slices: tuple[int, int], drop_path: float) -> nn.Module:
        return S3Block(dim, slices, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.enter(x)
        for block in range(len(self.blocks)):
            maps = self.advance(maps, block)
        return self.leave(maps, x.shape[2:])

    def enter(self, x: Tensor) -> tuple[Tensor, ...]:
        """The first block's input: maps (B, H', W', C), the current one first, then the skips, deepest first."""
        check_channels(type(self).__name__, x, self.in_channels)
        height, width = x.shape[2:]
        return (self.embedding(padded(x, padded_size((height, width), PATCH << (len(self.dims) - 1)))),)

    def advance(self, maps: tuple[Tensor, ...], block: int) -> tuple[Tensor, ...]:
        """The maps after block number `block` and the change of resolution before it.

        `forward` is split into blocks for the search, whose candidates share their first blocks.
        """
        x, *skips = maps
        stage = self._stage_at.get(block, 0)
        if 0 < stage < len(self.dims):
            x = self.merging[stage - 1](x)
            skips = [x, *skips]
        elif stage > len(self.dims):
            x = self.expanding[stage - len(self.dims) - 1](x + skips.pop(0))
        return (self.blocks[block](x), *skips)

    def leave(self, maps: tuple[Tensor, ...], size: Sequence[int]) -> Tensor:
        """The logits (B, num_classes, *size) of the last block's maps."""
        logits = self.head["seg_layers"](self.final_expanding(maps[0]).permute(0, 3, 1, 2))
        return logits[..., : size[0], : size[1]]

    @property
    def slicing(self) -> tuple[tuple[int, int], ...]:
        """The slices of each block, the encoder's first. They are part of `state_dict`."""
        return tuple(block.slices for block in self.blocks)

    def set_slicing(self, slicing: Sequence[Sequence[int]]) -> None:
        """Change the slices of all blocks and keep the weights.

        Raises:
            ValueError: `slicing` is not a pair of positive integers per block.
        """
        for block, slices in zip(self.blocks, check_slicing(slicing, len(self.blocks)), strict=True):
            block.scan.slices = slices

    @classmethod
    def published_arguments(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments of the network that has these weights, from their shapes; KeyError if it is another network."""

        def depths(part: str) -> tuple[int, ...]:
            blocks = {tuple(name.split(".")[1:3]) for name in state if name.startswith(part)}
            stages = Counter(int(stage) for stage, _ in blocks)
            return tuple(stages[stage] for stage in range(len(stages)))

        width = state["embedding.projection.weight"].shape[0]
        return {
            "in_channels": state["embedding.projection.weight"].shape[1],
            "num_classes": state["head.seg_layers.weight"].shape[0],
            "depths": depths("encoder."),
            "depths_decoder": depths("decoder."),
            "dims": tuple(width << stage for stage in range(len(depths("encoder.")))),
        }


class SliceMambaSupernet(SliceMamba):
    """SliceMamba with one block per choice of slices wherever SliceMamba has a block; a path picks one of each.

    Args:
        choices: pairs (h, w) to choose from.
        sizes: `depths`, `depths_decoder`, `dims` and `drop_path` of `SliceMamba`.
    Shape:
        (B, in_channels, H, W) -> logits (B, num_classes, H, W), along the path of `set_path`; until
        then, along the first choice of each block.
    """

    def __init__(self, in_channels: int, num_classes: int, choices: Sequence[Sequence[int]] = SLICES, **sizes):
        self.choices = check_slicing(choices, len(choices))
        super().__init__(in_channels, num_classes, **sizes)
        self.set_path([0] * len(self.blocks))

    def _block(self, dim: int, slices: tuple[int, int], drop_path: float) -> nn.Module:
        return _BlockPerChoice(S3Block(dim, choice, drop_path) for choice in self.choices)

    @property
    def slicing(self) -> tuple[tuple[int, int], ...]:
        """The slices along the path."""
        return tuple(self.slicing_of([block.chosen for block in self.blocks]))

    def set_path(self, path: Sequence[int]) -> None:
        """Choose a path: an index into `choices` per block, the encoder's first.

        Raises:
            ValueError: `path` is not one such index per block.
        """
        path = [int(choice) for choice in path]
        if len(path) != len(self.blocks) or not all(0 <= choice < len(self.choices) for choice in path):
            raise ValueError(
                f"path: got {path}, wanted {len(self.blocks)} indices of choices, 0 to {len(self.choices) - 1} each"
            )
        for block, choice in zip(self.blocks, path, strict=True):
            block.chosen = choice

    def set_slicing(self, slicing: Sequence[Sequence[int]]) -> None:
        """Choose the path with these slices.

        Raises:
            ValueError: `slicing` is not one of `choices` per block.
        """
        pairs = check_slicing(slicing, len(self.blocks))
        for block, pair in enumerate(pairs):
            if pair not in self.choices:
                raise ValueError(
                    f"slicing: got {pair} for block {block}, wanted one of {', '.join(map(str, self.choices))}"
                )
        self.set_path([self.choices.index(pair) for pair in pairs])

    def slicing_of(self, path: Sequence[int]) -> list[tuple[int, int]]:
        """The slices along `path`, as `SliceMamba` takes them."""
        return [self.choices[choice] for choice in path]


class _BlockPerChoice(nn.ModuleList):
    """The blocks that a path chooses from, one per choice of slices."""

    chosen = 0

    def forward(self, x: Tensor) -> Tensor:
        return self[self.chosen](x)


def check_slicing(slicing: Sequence[Sequence[int]], blocks: int) -> tuple[tuple[int, int], ...]:
    """`slicing` as tuples.

    Raises:
        ValueError: it is not a pair of positive integers for each of `blocks` blocks.
    """
    if len(slicing) != blocks:
        raise ValueError(
            f"slicing: got {len(slicing)} pairs, wanted {blocks}, one (h, w) for each block, the encoder's first"
        )
    return tuple(_pair(slices, block) for block, slices in enumerate(slicing))


def _pair(slices: Sequence[int], block: int) -> tuple[int, int]:
    if len(slices) != 2 or not all(isinstance(size, int) and size > 0 for size in slices):
        raise ValueError(
            f"slicing: got {tuple(slices)} for block {block}, wanted (h, w): rows and columns of a slice, 1 or more"
        )
    return slices[0], slices[1]


def _check_widths(depths: tuple[int, ...], depths_decoder: tuple[int, ...], dims: tuple[int, ...]) -> None:
    if not len(depths) == len(depths_decoder) == len(dims) > 0:
        raise ValueError(
            f"depths, depths_decoder and dims: got {len(depths)}, {len(depths_decoder)} and {len(dims)} stages, "
            "wanted the same number of each"
        )
    if any(2 * before != after for before, after in zip(dims, dims[1:])) or dims[0] % PATCH:
        raise ValueError(f"dims: got {dims}, wanted each twice the one before, the first a multiple of {PATCH}")


def _initialise(module: nn.Module) -> None:
    """Swin Transformer's initialisation of linear layers; the scan's own parameters keep Mamba's."""
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
