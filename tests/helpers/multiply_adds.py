"""Counts multiply-adds, for the figures of the catalogue."""

import torch

from nnunet_mamba.blocks.axial import separate_axes
from nnunet_mamba.blocks.ss2d import SS2D


def multiply_adds(network, *shape) -> int:
    """Multiply-adds of convolutions and linear layers for an input of `shape`, without the scan and its projections."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        if isinstance(module, torch.nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, torch.nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, SS2D):  # uses the weight of its in_proj without calling it
            total += output[..., 0].numel() * module.in_proj.weight.numel()

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    with torch.inference_mode(), separate_axes():
        network.eval()(torch.zeros(shape))
    for hook in hooks:
        hook.remove()
    return total
