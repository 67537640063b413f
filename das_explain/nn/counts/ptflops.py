"""MACs by the rules of the counter ``ptflops`` (its module rules), which most rows of the DAS paper's Table 1 follow.

They give the printed 1.82, 4.12 and 7.85 G of plain ResNet-18, 50 and 101, where ``thop``, which gives the paper's own
rows, has 1.82, 4.13 and 7.87. Counted are convolutions and linear layers with their biases, 2 for each value through an
affine batch norm, 1 for each value out of a ReLU and 1 for each value into a pooling layer; functions are not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

from das_explain.nn.running import as_found


def ptflops_macs(network: nn.Module, size: tuple[int, int, int] = (3, 224, 224)) -> int:
    """Counts one blank image of ``size`` (C, H, W); the network comes back as it was."""
    total = 0

    def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += _RULES[type(module)](module, inputs[0], output)

    hooks = [module.register_forward_hook(add) for module in network.modules() if type(module) in _RULES]
    like = next(network.parameters())
    try:
        with as_found(network), torch.no_grad():
            network(torch.zeros(1, *size, device=like.device, dtype=like.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    return total


def _conv(module: nn.Module, x: Tensor, out: Tensor) -> int:
    return out.numel() * int(prod(module.weight.shape[1:]) + (module.bias is not None))


def _linear(module: nn.Module, x: Tensor, out: Tensor) -> int:
    return out.numel() * (int(module.in_features) + (module.bias is not None))


def _norm(module: nn.Module, x: Tensor, out: Tensor) -> int:
    return x.numel() * (2 if module.affine else 1)


def _out(module: nn.Module, x: Tensor, out: Tensor) -> int:
    return out.numel()


def _in(module: nn.Module, x: Tensor, out: Tensor) -> int:
    return x.numel()


_RULES: dict[type[nn.Module], Callable[[nn.Module, Tensor, Tensor], int]] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d), _conv),
    nn.Linear: _linear,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d), _norm),
    **dict.fromkeys((nn.ReLU, nn.ReLU6), _out),
    **dict.fromkeys((nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d), _in),
}
