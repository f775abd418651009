"""SliceMamba's blocks: the published numbers, and map sizes that the published code refuses."""

import pytest
import torch

from helpers.recorded import arrays
from nnunet_mamba.blocks.patches import PatchExpanding, PatchMerging
from nnunet_mamba.blocks.slice_scan import S3Block, SliceScan2D
from nnunet_mamba.networks.published import is_setting, translate
from nnunet_mamba.networks.slicemamba import SliceMamba

BLOCKS = {
    "slice_bss_22": (lambda: SliceScan2D(8, (2, 2)), "smunet.layers.0.blocks.0.self_attention.", "encoder.0.0.scan."),
    "slice_bss_24": (lambda: SliceScan2D(8, (2, 4)), "smunet.layers.0.blocks.0.self_attention.", "encoder.0.0.scan."),
    "slice_bss_42": (lambda: SliceScan2D(8, (4, 2)), "smunet.layers.0.blocks.0.self_attention.", "encoder.0.0.scan."),
    "slice_bss_44": (lambda: SliceScan2D(8, (4, 4)), "smunet.layers.0.blocks.0.self_attention.", "encoder.0.0.scan."),
    "slice_s3_block": (lambda: S3Block(8, (2, 4)), "smunet.layers.0.blocks.0.", "encoder.0.0."),
    "slice_patch_merging": (lambda: PatchMerging(8), "smunet.layers.0.downsample.", "merging.0."),
    "slice_patch_expand": (lambda: PatchExpanding(8, 4, 2), "smunet.layers_up.1.upsample.", "expanding.0."),
    "slice_final_expand": (lambda: PatchExpanding(16, 4, 4), "smunet.final_up.", "final_expanding."),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_block_equals_the_published_one(name):
    make, theirs, ours = BLOCKS[name]
    numbers, block = arrays(name), make().eval()
    state = {key.removeprefix("state:"): value for key, value in numbers.items() if key.startswith("state:")}
    settings = {key: value for key, value in block.state_dict().items() if is_setting(key)}
    weights = {
        translate(theirs + key, SliceMamba.published_names).removeprefix(ours): value for key, value in state.items()
    }
    block.load_state_dict(weights | settings)
    x = numbers["input0"].requires_grad_()
    y = block(x)
    (y * numbers["cotangent0"]).sum().backward()
    torch.testing.assert_close(y, numbers["output0"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(x.grad, numbers["grad_input0"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("slices", [(2, 2), (2, 4), (4, 2), (4, 4)], ids=str)
def test_a_scan_without_memory_keeps_every_position(slices):
    """With huge step sizes the state only holds the current position: a map's scan equals the scans of its pixels."""
    torch.manual_seed(0)
    scan = SliceScan2D(2, slices)
    with torch.no_grad():
        scan.dt_projs_bias.fill_(50.0)
        scan.dt_projs_weight.zero_()
        scan.A_logs.fill_(3.0)
    for height in range(1, 10):
        for width in range(1, 12):
            x = torch.randn(1, scan.d_inner, height * width)
            y = scan._scan(x, scan.orders(height, width, x.device))
            alone = torch.cat([scan._scan(p, scan.orders(1, 1, x.device)) for p in x.split(1, dim=2)], dim=2)
            torch.testing.assert_close(y, alone, rtol=1e-4, atol=1e-3)  # of values around ten
