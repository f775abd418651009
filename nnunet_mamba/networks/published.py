"""Loads the authors' weights: what they call each tensor, and what we do."""

import re
from collections.abc import Mapping

from torch import Tensor, nn

# Regular expressions, applied in turn to a published name.
DA_MAMBANET = (
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
DERMOMAMBA = (
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
SLICEMAMBA = (
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
_TABLES = {"DAMambaNet": DA_MAMBANET, "DermoMamba": DERMOMAMBA, "SliceMamba": SLICEMAMBA}


def load_published_state_dict(network: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Load weights that carry the parameter names of the authors' published code into our network, strictly.

    Args:
        network: a network of nnunet_mamba.networks, built for the channels, classes and input size of the weights.
        state_dict: the authors' state dict, as `torch.load(file, weights_only=True)` gives it.
    Raises:
        ValueError: a network without a published counterpart; or an entry that is missing, unknown or of another shape,
            with the first few of each.
    """
    table = _TABLES.get(type(network).__name__)
    if table is None:
        raise ValueError(f"network: got {type(network).__name__}, wanted one of {', '.join(_TABLES)}")
    ours = {name: tensor for name, tensor in network.state_dict().items() if not is_setting(name)}
    theirs = {translate(name, table): (name, tensor) for name, tensor in state_dict.items()}
    problems = [f"missing: {name}" for name in ours if name not in theirs]
    problems += [f"unknown: {name}" for key, (name, _) in theirs.items() if key not in ours]
    problems += [
        f"{name}: got {tuple(tensor.shape)}, wanted {tuple(ours[key].shape)}"
        for key, (name, tensor) in theirs.items()
        if key in ours and ours[key].shape != tensor.shape
    ]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(
            f"state_dict does not fit this {type(network).__name__} (channels, classes and input_size must be the "
            f"weights' own): {'; '.join(problems[:5])}{more}"
        )
    settings = {name: tensor for name, tensor in network.state_dict().items() if is_setting(name)}
    network.load_state_dict({key: tensor for key, (_, tensor) in theirs.items()} | settings)


def translate(name: str, table) -> str:
    """Our name for the published parameter `name`."""
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name


def is_setting(name: str) -> bool:
    """Whether an entry of a state dict is no weight but a setting of ours, such as the slices of a scan."""
    return name.endswith("_extra_state")
