"""DermoMamba (Hoang et al. 2025, Pattern Analysis and Applications), for any patch size, channels and classes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from nnunet_mamba.blocks.cbam import CBAM
from nnunet_mamba.blocks.cross_scale_mamba import CrossScaleEncoder
from nnunet_mamba.blocks.priority_attention import PriorityChannelAttention
from nnunet_mamba.blocks.sweep_mamba import SweepMamba
from nnunet_mamba.blocks.upsampling_decoder import UpsamplingDecoder
from nnunet_mamba.networks.input_size import STRIDE, check_input, check_input_size, padded, padded_size
from nnunet_mamba.networks.published import Names

STEM_CHANNELS = 16
STAGE_CHANNELS = (32, 64, 128, 256, 512)
DEEPER_HEAD = re.compile(r"heads\.seg_layers\.[1-4]\.")


class _Heads(nn.Module):
    """A 1x1 convolution per supervised decoder stage; nnU-Net's -pretrained_weights skips the name `seg_layers`."""

    def __init__(self, widths: Sequence[int], num_classes: int):
        super().__init__()
        self.seg_layers = nn.ModuleList(nn.Conv2d(width, num_classes, 1) for width in widths)


class DermoMamba(nn.Module):
    """Five stages of Cross-Scale Mamba down, channel attention and Sweep Mamba, five convolutional stages up, one head.

    Sweep Mamba has weights per row and column of its map, so a network only fits the `input_size` it was built for.
    Images are padded with zeros below and to the right to multiples of 32, and the logits are cropped back.

    The paper has no deep supervision. As an option, every decoder stage has a head, as in nnU-Net. A network built
    without these heads also loads weights trained with them, and skips the heads.

    Args:
        in_channels: channels of the image.
        num_classes: channels of the logits: classes including the background, or regions, or 1.
        input_size: (H, W) of the image, each at least 16.
        deep_supervision: build a head per decoder stage and return all outputs. A network built with True can be
            switched to the first output only, and back, by setting the attribute.
    Shape:
        (B, in_channels, H, W) -> logits (B, num_classes, H, W). With deep supervision a list of five: stage i has the
        shape (B, num_classes, round(H / 2^i), round(W / 2^i)).
    Raises:
        ValueError: `input_size` is not two sizes of at least 16, or an input has another size or number of channels.
    """

    published_names: ClassVar[Names]

    def __init__(self, in_channels: int, num_classes: int, input_size: Sequence[int], deep_supervision: bool = False):
        super().__init__()
        self.in_channels = in_channels
        self.input_size = check_input_size(type(self).__name__, input_size)
        self.padded_size = padded_size(self.input_size)
        self.deep_supervision = deep_supervision
        widths = (STEM_CHANNELS, *STAGE_CHANNELS)
        stages = list(zip(widths, widths[1:]))
        self.stem = nn.Conv2d(in_channels, STEM_CHANNELS, 1)
        self.encoder = nn.ModuleList(CrossScaleEncoder(before, after) for before, after in stages)
        self.skips = nn.ModuleList(CBAM(channels) for channels in STAGE_CHANNELS)
        self.channel_attention = PriorityChannelAttention(STAGE_CHANNELS[-1])
        self.sweep_mamba = SweepMamba(STAGE_CHANNELS[-1], [length // STRIDE for length in self.padded_size])
        self.decoder = nn.ModuleList(UpsamplingDecoder(after, before) for before, after in stages)
        self.heads = _Heads(widths[:-1] if deep_supervision else widths[:1], num_classes)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        check_input(type(self).__name__, x, self.in_channels, self.input_size)
        x = self.stem(padded(x, self.padded_size))
        skips = []
        for stage, attention in zip(self.encoder, self.skips):
            x, skip = stage(x)
            skips.append(attention(skip))
        x = self.sweep_mamba(x + self.channel_attention(x))
        maps = []
        for block, skip in reversed(list(zip(self.decoder, skips))):
            x = block(x, skip)
            maps.append(x)
        heads = self.heads.seg_layers
        logits = [self._cropped(head(x), stage) for stage, (head, x) in enumerate(zip(heads, reversed(maps)))]
        return logits if self.deep_supervision else logits[0]

    def _cropped(self, logits: Tensor, stage: int) -> Tensor:
        """The logits of a decoder stage, cropped to the size that nnU-Net gives a target at that scale."""
        height, width = (round(length / 2**stage) for length in self.input_size)
        return logits[..., :height, :width]

    def load_state_dict(self, state_dict: Mapping[str, Tensor], *args, **kwargs):
        """As for any module, but a network built without deep supervision skips the weights of the heads it lacks.

        nnU-Net always predicts with such a network, however it was trained.
        """
        if len(self.heads.seg_layers) == 1:
            state_dict = {name: tensor for name, tensor in state_dict.items() if not DEEPER_HEAD.match(name)}
        return super().load_state_dict(state_dict, *args, **kwargs)

    @classmethod
    def published_arguments(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments of the network that has these weights, from their shapes; KeyError if it is another network."""
        axes = "over_height", "over_width"
        return {
            "in_channels": state["stem.weight"].shape[1],
            "num_classes": state["heads.seg_layers.0.weight"].shape[0],
            "input_size": tuple(STRIDE * state[f"sweep_mamba.{axis}.in_proj.weight"].shape[1] for axis in axes),
        }

    def extra_repr(self) -> str:
        return f"input_size={self.input_size}, deep_supervision={self.deep_supervision}"


DermoMamba.published_names = (
    (r"\b(\w+)\.self_attention\.", r"\1.ss2d."),
    (r"\bln_1\.", "norm."),
    # cross-scale Mamba in the encoder
    (r"^(e\d\.)resmamba\.block\.", r"\1mamba.cross_scale."),
    (r"^(e\d\.)resmamba\.conv\.", r"\1mamba.body.0."),
    (r"^(e\d\.)resmamba\.ins_norm\.", r"\1mamba.body.1."),
    (r"^(e\d\.)resmamba\.", r"\1mamba."),
    (r"\bdw(\d)\.(mixer|conv)", lambda m: f"axial.{int(m[1]) - 1}.{m[2]}"),
    (r"\bmixer_h\.", "vertical."),
    (r"\bmixer_w\.", "horizontal."),
    (r"\b(axial\.\d\.)conv\.", r"\1square."),
    (r"\bcross_scale\.bn\.", "cross_scale.norm."),
    (r"^(e\d\.)pw\.", r"\1widen.0."),
    (r"^(e\d\.)bn\.", r"\1widen.1."),
    # gates of the skips
    (r"\bChannelGate\.mlp\.(\d)\.", lambda m: f"0.mlp.{int(m[1]) - 1}."),
    (r"\bSpatialGate\.spatial\.conv\.", "1.conv."),
    (r"\bSpatialGate\.spatial\.bn\.", "1.norm."),
    # bottleneck
    (r"^b1\.ln\.", "b1.norm_in."),
    (r"^b1\.proj_in\.", "b1.squeeze."),
    (r"^b1\.mamba1\.", "b1.over_channels."),
    (r"^b1\.mamba2\.", "b1.over_height."),
    (r"^b1\.mamba3\.", "b1.over_width."),
    (r"^b1\.proj_out\.", "b1.expand."),
    (r"^b1\.bn\.", "b1.norm."),
    (r"^b2\.dw\.", "b2.depthwise."),
    # decoder
    (r"^(d\d\.)pw\.", r"\1body.0."),
    (r"^(d\d\.)pw2\.", r"\1body.1."),
    (r"^(d\d\.)bn\.", r"\1body.3."),
    # the network
    (r"^pw_in\.", "stem."),
    (r"^e(\d)\.", lambda m: f"encoder.{int(m[1]) - 1}."),
    (r"^s(\d)\.", lambda m: f"skips.{int(m[1]) - 1}."),
    (r"^b1\.", "sweep_mamba."),
    (r"^b2\.", "channel_attention."),
    (r"^d(\d)\.", lambda m: f"decoder.{int(m[1]) - 1}."),
    (r"^conv_out\.", "heads.seg_layers.0."),
)
