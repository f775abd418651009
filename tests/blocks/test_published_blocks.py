"""Every block reproduces the recorded outputs and gradients of its published counterpart."""

import pytest
import torch

from helpers.recorded import arrays
from nnunet_mamba.blocks.axial import AxialConv, AxialDepthwiseChain, AxialResidualBlock
from nnunet_mamba.blocks.cbam import CBAM
from nnunet_mamba.blocks.cross_scale_mamba import CrossScaleEncoder, CrossScaleMamba
from nnunet_mamba.blocks.csag import ChannelSpatialAttentionGate
from nnunet_mamba.blocks.multi_attention_mamba import MultiAttentionMamba, ResidualMamba
from nnunet_mamba.blocks.priority_attention import PriorityChannelAttention, PrioritySpatialAttention
from nnunet_mamba.blocks.scale_attention import ScaleAttention
from nnunet_mamba.blocks.selective_kernel import SelectiveKernelConv, SelectiveKernelUnit
from nnunet_mamba.blocks.ss2d import SS2D, VSSBlock
from nnunet_mamba.blocks.sweep_mamba import SweepMamba
from nnunet_mamba.blocks.upsampling_decoder import UpsamplingDecoder
from nnunet_mamba.networks import DAMambaNet, DermoMamba
from nnunet_mamba.networks.published import translate

# file: our block, and its prefix in the whole network in the authors' names and in ours
BLOCKS = {
    "ss2d": (lambda: SS2D(8), "", ""),
    "vss_block": (lambda: VSSBlock(8), "e1.mamba.", "encoder.0.vss."),
    "da_axial_mixer": (lambda: AxialConv(6), "", ""),
    "da_axial_residual": (lambda: AxialResidualBlock(32, 16), "d1.", "decoder.0."),
    "da_channel_attention": (lambda: PriorityChannelAttention(4), "e1.pca.", "encoder.0.channel_attention."),
    "da_spatial_attention": (
        lambda: PrioritySpatialAttention(4, (10, 12), softmax_over_batch=True),
        "e1.psa.",
        "encoder.0.spatial_attention.",
    ),
    "da_res_mamba": (lambda: ResidualMamba(8), "e1.resmamba.", "encoder.0.residual_mamba."),
    "da_multi_attention_mamba": (
        lambda: MultiAttentionMamba(16, 32, (8, 12), softmax_over_batch=True),
        "e1.",
        "encoder.0.",
    ),
    "da_csag": (lambda: ChannelSpatialAttentionGate(32, 32), "a1.", "gates.0."),
    "da_sk_conv7": (lambda: SelectiveKernelConv(16, 7), "sk_in.", "stem.1."),
    "da_sk_unit": (lambda: SelectiveKernelUnit(32), "b5.", "bottleneck."),
    "da_scale_attention": (lambda: ScaleAttention(16, 4), "scale_attention.", "heads.scale_attention."),
    "dermo_axial_spatial_dw": (
        lambda: AxialDepthwiseChain(6, dilation=2),
        "e1.resmamba.block.dw2.",
        "encoder.0.mamba.cross_scale.axial.1.",
    ),
    "dermo_cross_scale_mamba": (lambda: CrossScaleMamba(32), "e2.resmamba.block.", "encoder.1.mamba.cross_scale."),
    "dermo_encoder_block": (lambda: CrossScaleEncoder(16, 32), "e1.", "encoder.0."),
    "dermo_cbam": (lambda: CBAM(32), "s1.", "skips.0."),
    "dermo_channel_attention": (lambda: PriorityChannelAttention(8), "b2.", "channel_attention."),
    "dermo_sweep_mamba": (lambda: SweepMamba(64, (6, 8)), "b1.", "sweep_mamba."),
    "dermo_decoder_block": (lambda: UpsamplingDecoder(32, 16), "d1.", "decoder.0."),
}
CHANNELS_LAST = {"vss_block"}  # recorded as (B, H, W, C), ours takes (B, C, H, W)


def load(block, name, numbers, theirs, ours):
    table = (DermoMamba if name.startswith("dermo") else DAMambaNet).published_names
    state = {
        translate(theirs + key.removeprefix("state:"), table).removeprefix(ours): value
        for key, value in numbers.items()
        if key.startswith("state:")
    }
    missing, unexpected = block.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)


@pytest.mark.parametrize("name", BLOCKS)
def test_block_equals_the_published_one(name):
    make, theirs, ours = BLOCKS[name]
    numbers = arrays(name)
    block = make().eval()
    load(block, name, numbers, theirs, ours)
    inputs = [value.requires_grad_() for key, value in numbers.items() if key.startswith("input")]
    if name in CHANNELS_LAST:
        outputs = block(*(x.permute(0, 3, 1, 2) for x in inputs)).permute(0, 2, 3, 1)
    else:
        outputs = block(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    assert len(outputs) == sum(key.startswith("output") for key in numbers)
    sum((output * numbers[f"cotangent{i}"]).sum() for i, output in enumerate(outputs)).backward()
    for i, output in enumerate(outputs):
        torch.testing.assert_close(output, numbers[f"output{i}"], rtol=1e-4, atol=1e-4)
    for i, x in enumerate(inputs):
        torch.testing.assert_close(x.grad, numbers[f"grad_input{i}"], rtol=1e-4, atol=1e-4)


def test_spatial_attention_treats_images_independently():
    """The published softmax runs over the batch; for a batch of one, ours and theirs agree."""
    numbers = arrays("da_spatial_attention")
    x = numbers["input0"]
    ours = PrioritySpatialAttention(4, (10, 12))
    published = PrioritySpatialAttention(4, (10, 12), softmax_over_batch=True)
    published.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x)[:1], ours(x[:1]))
    torch.testing.assert_close(ours(x[:1]), published(x[:1]))
    assert not torch.allclose(published(x)[:1], published(x[:1]))


def test_scan_stays_in_float32_under_autocast():
    block = SS2D(8)
    x = torch.randn(1, 6, 9, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = block(x)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), block(x), rtol=0.1, atol=0.02)


def test_shared_parts_get_gradients_and_frozen_parts_do_not():
    block = MultiAttentionMamba(16, 32, (8, 12))
    pooled, skip = block(torch.randn(2, 16, 8, 12))
    (pooled.sum() + skip.square().sum()).backward()
    without = {name for name, parameter in block.named_parameters() if parameter.grad is None}
    assert without == {name for name, parameter in block.named_parameters() if not parameter.requires_grad}
    assert without and all("unused" in name for name in without)


def test_a_map_first_seen_in_inference_mode_can_be_trained_on():
    """Orders are built once per map size and kept, but autograd cannot save a tensor created in inference mode."""
    block = SS2D(4)
    x = torch.randn(1, 11, 13, 4)
    with torch.inference_mode():
        block(x)
    block(x).sum().backward()
    assert block.A_logs.grad.any()


def test_compiles_without_a_graph_break():
    """nnU-Net compiles on CUDA. This backend traces forward and backward and runs them eagerly."""
    block = VSSBlock(4)
    x = torch.randn(1, 4, 8, 9)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    y = compiled(x)
    y.sum().backward()
    gradient = block.ss2d.A_logs.grad.clone()
    block.zero_grad()
    block(x).sum().backward()
    torch.testing.assert_close(y, block(x))
    torch.testing.assert_close(gradient, block.ss2d.A_logs.grad)
