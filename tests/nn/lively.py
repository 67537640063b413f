"""Modules as after training, and the maps they are tried on."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def lively(module: nn.Module, seed: int = 0) -> nn.Module:
    """As after training: no parameter is zero or one, norms have statistics of their own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.normal_(0, 0.2, generator=generator)
                norm.running_var.uniform_(0.5, 1.5, generator=generator)
    return module.double().eval()


def maps(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
