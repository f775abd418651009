"""DA-MambaNet (Nguyen et al. 2025, Image and Vision Computing 163:105778), for any patch size, channels and classes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nnunet_mamba.blocks.axial import AxialResidualBlock
from nnunet_mamba.blocks.csag import ChannelSpatialAttentionGate
from nnunet_mamba.blocks.multi_attention_mamba import MultiAttentionMamba
from nnunet_mamba.blocks.scale_attention import ScaleAttention
from nnunet_mamba.blocks.selective_kernel import SelectiveKernelConv, SelectiveKernelUnit
from nnunet_mamba.networks.input_size import check_input, check_input_size, padded, padded_size

STEM_CHANNELS = 16
STAGE_CHANNELS = (32, 64, 128, 256, 512)
CHANNELS_PER_SCALE = 4


class DAMambaNet(nn.Module):
    """Five stages of Multi-Attention Mamba down, a selective-kernel bottleneck, five gated stages up, and two heads.

    The spatial attention has weights per row and column, so a network only fits the `input_size` it was built for.
    Images are padded with zeros below and to the right to multiples of 32, and the logits are cropped back.

    Parameters that the published network has but never uses are kept, frozen (see the blocks): published weights load,
    and distributed training finds a gradient for every parameter that it trains.

    Args:
        in_channels: channels of the image.
        num_classes: channels of the logits: classes including the background, or regions, or 1.
        input_size: (H, W) of the image, each at least 16.
        deep_supervision: return all three outputs, not only the first. The attribute can be changed at any time.
    Shape:
        (B, in_channels, H, W) -> logits (B, num_classes, H, W). With deep supervision a list of three such logits:
        [final, decoder, layer]. `decoder` comes from the last decoder map, `layer` from the four deeper ones, and
        `final` is their sum.
    Raises:
        ValueError: `input_size` is not two sizes of at least 16, or an input has another size or number of channels.
    """

    def __init__(self, in_channels: int, num_classes: int, input_size: Sequence[int], deep_supervision: bool = True):
        super().__init__()
        self.in_channels = in_channels
        self.input_size = check_input_size(type(self).__name__, input_size)
        self.padded_size = padded_size(self.input_size)
        self.deep_supervision = deep_supervision
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, STEM_CHANNELS, 1), SelectiveKernelConv(STEM_CHANNELS, kernel_size=7, reduction=4)
        )
        widths = (STEM_CHANNELS, *STAGE_CHANNELS)
        height, width = self.padded_size
        self.encoder = nn.ModuleList(
            MultiAttentionMamba(before, after, (height >> stage, width >> stage))
            for stage, (before, after) in enumerate(zip(widths, widths[1:]))
        )
        self.bottleneck = SelectiveKernelUnit(STAGE_CHANNELS[-1])
        self.gates = nn.ModuleList(ChannelSpatialAttentionGate(channels, channels) for channels in STAGE_CHANNELS)
        self.decoder = nn.ModuleList(AxialResidualBlock(2 * after, before) for before, after in zip(widths, widths[1:]))
        self.heads = DAMambaHeads(widths[:-1], num_classes)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        check_input(type(self).__name__, x, self.in_channels, self.input_size)
        height, width = self.input_size
        x = self.stem(padded(x, self.padded_size))
        skips = []
        for stage in self.encoder:
            x, skip = stage(x)
            skips.append(skip)
        x = self.bottleneck(x)
        maps = []
        for gate, block, skip in reversed(list(zip(self.gates, self.decoder, skips))):
            x = block(gate(x, skip))
            maps.append(x)
        decoder, layer = (logits[..., :height, :width] for logits in self.heads(maps))
        final = decoder + layer
        return [final, decoder, layer] if self.deep_supervision else final

    def extra_repr(self) -> str:
        return f"input_size={self.input_size}, deep_supervision={self.deep_supervision}"


class DAMambaHeads(nn.Module):
    """Logits from the last decoder map, and from the four deeper ones after scale attention.

    The convolutions to the classes are in `seg_layers`, a name that nnU-Net's `-pretrained_weights` skips.

    Args:
        widths: channels of the decoder maps, from full size to the deepest.
    Shape:
        five maps, the deepest first, each twice the size of the one before -> two logits (B, num_classes, H, W).
    """

    def __init__(self, widths: Sequence[int], num_classes: int):
        super().__init__()
        self.project = nn.ModuleList(nn.Conv2d(width, CHANNELS_PER_SCALE, 1) for width in widths[1:])
        self.unused = nn.Conv2d(widths[0], CHANNELS_PER_SCALE, 1).requires_grad_(False)
        scales = len(self.project)
        self.scale_attention = ScaleAttention(scales * CHANNELS_PER_SCALE, CHANNELS_PER_SCALE, scales)
        self.seg_layers = nn.ModuleDict(
            {"decoder": nn.Conv2d(widths[0], num_classes, 1), "layer": nn.Conv2d(CHANNELS_PER_SCALE, num_classes, 1)}
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        *deeper, last = maps
        size = last.shape[2:]
        scales = [
            interpolate(project(x), size=size, mode="bilinear", align_corners=False)
            for project, x in zip(reversed(self.project), deeper)
        ]
        layer = self.scale_attention(torch.cat(scales, dim=1))
        return self.seg_layers["decoder"](last), self.seg_layers["layer"](layer)
