"""Attention-alike structural re-parameterisation: Zhong et al., "ASR", arXiv 2304.06345, 2023.

    X_out = X phi(v)                              phi: an attention module (SE here); v: a learned vector, not the image

The paper's third version is called "Stripe Observation Guided Inference Cost-free Attention Mechanism"; the numbers of
its equations could not be checked.

While it trains, a constant vector goes through SE; once trained, phi(v) is a constant too, and ``fused`` multiplies it
into the batch norm before it: the network is then plain, with no parameter more. Hence the printed 26.00 and 45.00 M,
which are 25.56 and 44.55 M in whole millions ("26 M", "45 M") with two zeros added. As in the authors' code v starts at
0.1 and SE has r = 16 and biases: 28,103,128 parameters while it trains (ResNet-50). It stands in every residual block,
after the last batch norm, before the addition.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from das_explain.nn.gate import Gate


class ASR(Gate):
    """Multiplies each channel by a learned weight that no image changes. (N, C, H, W) -> (N, C, H, W)."""

    per_channel = True

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.vector = nn.Parameter(torch.full((1, channels, 1, 1), 0.1))
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)
        self.relu = nn.ReLU()

    def attention(self, x: Tensor | None = None) -> Tensor:
        """phi(v), whatever the map: (1, C, 1, 1) in (0, 1)."""
        return self.fc2(self.relu(self.fc1(self.vector))).sigmoid()


def fused(network: nn.Module) -> nn.Module:
    """A copy in eval mode without ASR modules and with the same output: each goes into the batch norm before it.

    The copy's state dict is the plain backbone's.
    """
    twin = copy.deepcopy(network).eval()
    for block in twin.modules():
        if isinstance(getattr(block, "gate", None), ASR):
            weights = block.gate.acting(block.gate.attention()).detach().flatten()
            norm = last_norm(block)
            with torch.no_grad():
                norm.weight.mul_(weights)
                norm.bias.mul_(weights)
            block.gate = nn.Identity()
    return twin


def last_norm(block: nn.Module) -> nn.BatchNorm2d:
    """The batch norm whose output the block adds to its input."""
    body = block.conv if hasattr(block, "conv") else block  # an inverted residual keeps its layers in ``conv``
    names = [name for name, child in body.named_children() if isinstance(child, nn.BatchNorm2d)]
    return getattr(body, names[-1])
