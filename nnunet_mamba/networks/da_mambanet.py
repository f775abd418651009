"""DA-MambaNet (Nguyen et al. 2025, Image and Vision Computing 163:105778), for any patch size, channels and classes."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nnunet_mamba.blocks.axial import AxialResidualBlock
from nnunet_mamba.blocks.csag import ChannelSpatialAttentionGate
from nnunet_mamba.blocks.multi_attention_mamba import MultiAttentionMamba
from nnunet_mamba.blocks.scale_attention import ScaleAttention
from nnunet_mamba.blocks.selective_kernel import SelectiveKernelConv, SelectiveKernelUnit
from nnunet_mamba.networks.input_size import check_input, check_input_size, padded, padded_size
from nnunet_mamba.networks.published import Names

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

    published_names: ClassVar[Names]

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

    @classmethod
    def published_arguments(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments of the network that has these weights, from their shapes; KeyError if it is another network."""
        attention = "encoder.0.spatial_attention."
        return {
            "in_channels": state["stem.0.weight"].shape[1],
            "num_classes": state["heads.seg_layers.decoder.weight"].shape[0],
            "input_size": tuple(state[f"{attention}{axis}.weight"].shape[0] for axis in ("mix_rows", "mix_columns")),
        }

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


DAMambaNet.published_names = (
    (r"\b(\w+)\.self_attention\.", r"\1.ss2d."),
    (r"\bln_1\.", "norm."),
    # axial convolutions and axial residual blocks
    (r"\bmixer_h\.", "vertical."),
    (r"\bmixer_w\.", "horizontal."),
    (r"^(d\d\.)?conv1\.(vertical|horizontal)", r"\1body.0.\2"),
    (r"^(d\d\.)bn1\.", r"\1body.1."),
    (r"^(d\d\.)conv2\.", r"\1body.3."),
    (r"^(d\d\.)conv3\.", r"\1body.4."),
    (r"^(d\d\.)bn2\.", r"\1body.5."),
    # multi-attention Mamba
    (r"^(e\d\.)pca\.dw\.", r"\1channel_attention.depthwise."),
    (r"^(e\d\.)psa\.pw\.", r"\1spatial_attention.unused."),
    (r"^(e\d\.)psa\.pw_h\.", r"\1spatial_attention.mix_columns."),
    (r"^(e\d\.)psa\.pw_w\.", r"\1spatial_attention.mix_rows."),
    (r"^(e\d\.)mamba\.", r"\1vss."),
    (r"^(e\d\.)axial(\d)\.", lambda m: f"{m[1]}axial.{int(m[2]) - 1}."),
    (r"^(e\d\.)resmamba\.conv\.", r"\1residual_mamba.body.0."),
    (r"^(e\d\.)resmamba\.block\.", r"\1residual_mamba.body.1."),
    (r"^(e\d\.)resmamba\.ins_norm\.", r"\1residual_mamba.body.2."),
    (r"^(e\d\.)resmamba\.", r"\1residual_mamba."),
    (r"^(e\d\.)bn1\.", r"\1norm."),
    (r"^(e\d\.)conv1\.", r"\1merge.0."),
    (r"^(e\d\.)bn3\.", r"\1merge.1."),
    (r"^(e\d\.)conv2\.", r"\1shortcut.0."),
    (r"^(e\d\.)bn2\.", r"\1shortcut.1."),
    (r"^(e\d\.)ins_norm1\.", r"\1instance_norm."),
    (r"^(e\d\.)ins_norm(\d)\.", lambda m: f"{m[1]}unused.{int(m[2]) - 2}."),
    # selective kernels
    (r"\bconvs\.", "branches."),
    (r"\bfc\.", "squeeze."),
    (r"\bfcs\.", "select."),
    (r"^(b5\.)conv1\.", r"\1reduce."),
    (r"^(b5\.)conv2_sk\.", r"\1selective."),
    (r"^(b5\.)conv3\.", r"\1expand."),
    # gates
    (r"\battention_gate\.W_g\.", "attention_gate.gate."),
    (r"\battention_gate\.W_x\.", "attention_gate.skip."),
    (
        r"^scale_attention\.cbam\.ChannelGate\.mlp\.(\d)\.",
        lambda m: f"scale_attention.channel_gate.mlp.{int(m[1]) - 1}.",
    ),
    (r"^scale_attention\.cbam\.SpatialGate\.conv1\.conv\.", "scale_attention.spatial_gate.0."),
    (r"^scale_attention\.cbam\.SpatialGate\.conv1\.bn\.", "scale_attention.spatial_gate.1."),
    (r"^scale_attention\.cbam\.SpatialGate\.conv2\.conv\.", "scale_attention.spatial_gate.3."),
    (r"^scale_attention\.conv3\.", "scale_attention.merge.0."),
    (r"^scale_attention\.bn3\.", "scale_attention.merge.1."),
    (r"\bcbam\.ChannelGate\.mlp\.(\d)\.", lambda m: f"cbam.0.mlp.{int(m[1]) - 1}."),
    (r"\bcbam\.SpatialGate\.spatial\.conv\.", "cbam.1.conv."),
    (r"\bcbam\.SpatialGate\.spatial\.bn\.", "cbam.1.norm."),
    # the network
    (r"^pw_in\.", "stem.0."),
    (r"^sk_in\.", "stem.1."),
    (r"^e(\d)\.", lambda m: f"encoder.{int(m[1]) - 1}."),
    (r"^b5\.", "bottleneck."),
    (r"^a(\d)\.", lambda m: f"gates.{int(m[1]) - 1}."),
    (r"^d(\d)\.", lambda m: f"decoder.{int(m[1]) - 1}."),
    (r"^dsv1\.dsv\.0\.", "heads.unused."),
    (r"^dsv(\d)\.dsv\.0\.", lambda m: f"heads.project.{int(m[1]) - 2}."),
    (r"^scale_attention\.", "heads.scale_attention."),
    (r"^conv_final\.", "heads.seg_layers.decoder."),
    (r"^conv_out\.", "heads.seg_layers.layer."),
)
