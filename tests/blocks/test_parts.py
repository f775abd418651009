"""A batch taken apart: as torch.chunk does, and of any size once it is exported."""

import pytest
import torch
from torch import nn

from nnunet_mamba.blocks.parts import parts


class Middle(nn.Module):
    def forward(self, x):
        return parts(torch.cat([x, 2 * x, 3 * x]), 3)[1]


def test_equals_chunk():
    x = torch.randn(6, 2, 3, 4).contiguous(memory_format=torch.channels_last)
    for got, wanted in zip(parts(x, 3), x.chunk(3), strict=True):
        assert torch.equal(got, wanted) and got.stride() == wanted.stride()


def test_exported_for_any_batch():
    program = torch.export.export(Middle(), (torch.ones(2, 3),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for batch in (1, 5):
        x = torch.randn(batch, 3)
        torch.testing.assert_close(program.module()(x), 2 * x)


def test_torch_jit_script_is_refused_in_one_line():
    from nnunet_mamba.blocks.ss2d import VSSBlock

    with pytest.raises(
        RuntimeError, match="^torch.jit.script does not take our scan: use `nnunet_mamba export"
    ) as raised:
        torch.jit.script(VSSBlock(4))
    assert "\n" not in str(raised.value)
