"""A random state dict with the names and shapes of VMamba-tiny (VSSM, Liu et al. 2024)."""

import torch

DIMS, DEPTHS, STATES, CLASSES = (96, 192, 384, 768), (2, 2, 9, 2), 16, 1000


def shapes():
    """Yields (name, shape) of each entry."""
    yield "patch_embed.proj.weight", (DIMS[0], 3, 4, 4)
    for name in ("proj.bias", "norm.weight", "norm.bias"):
        yield f"patch_embed.{name}", (DIMS[0],)
    for stage, (dim, depth) in enumerate(zip(DIMS, DEPTHS)):
        inner, rank = 2 * dim, dim // 16
        for block in range(depth):
            of_block = {
                "ln_1.weight": (dim,),
                "ln_1.bias": (dim,),
                "self_attention.x_proj_weight": (4, rank + 2 * STATES, inner),
                "self_attention.dt_projs_weight": (4, inner, rank),
                "self_attention.dt_projs_bias": (4, inner),
                "self_attention.A_logs": (4 * inner, STATES),
                "self_attention.Ds": (4 * inner,),
                "self_attention.in_proj.weight": (2 * inner, dim),
                "self_attention.conv2d.weight": (inner, 1, 3, 3),
                "self_attention.conv2d.bias": (inner,),
                "self_attention.out_norm.weight": (inner,),
                "self_attention.out_norm.bias": (inner,),
                "self_attention.out_proj.weight": (dim, inner),
            }
            yield from ((f"layers.{stage}.blocks.{block}.{name}", shape) for name, shape in of_block.items())
        if stage < 3:
            yield f"layers.{stage}.downsample.reduction.weight", (2 * dim, 4 * dim)
            for name in ("weight", "bias"):
                yield f"layers.{stage}.downsample.norm.{name}", (4 * dim,)
    for name, shape in (("norm.weight", (DIMS[-1],)), ("norm.bias", (DIMS[-1],))):
        yield name, shape
    yield "head.weight", (CLASSES, DIMS[-1])
    yield "head.bias", (CLASSES,)


def state_dict():
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes()}
