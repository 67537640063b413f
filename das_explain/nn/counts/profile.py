"""Parameters and multiply-accumulates (MACs) of a network: the true ones, and those a paper would print.

**Why two numbers.** The DAS paper's "parameters" and "FLOPs" are those of the counter ``thop``, which adds up a rule
per *called module*. A deformable kernel is a weight handed to a *function*; thop sees neither its parameters nor its
MACs. So ResNet-50 with gates is printed as 26.90 M and 4.39 G and really has 36.91 M and 5.83 G. The convention also
counts norms and pooling (plain ResNet-50: 4.13 G where torchvision says 4.09 G), so compare each number with a plain
network's of its own kind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import torch
import torchvision.ops  # noqa: F401  registers torch.ops.torchvision
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from das_explain.errors import DasExplainError
from das_explain.nn.running import as_found

BILINEAR_TAPS = 4  # one look-up between pixels is a weighted sum of its four neighbours


@dataclass(frozen=True)
class Profile:
    """Counts for one image.

    ``parameters`` are all of them. ``macs`` are those of convolutions, matrix products, attention and bilinear
    look-ups, through modules and functions alike; norms, activations and other elementwise work are left out, as
    torchvision's own tables do. ``*_published`` follow thop 0.1.1.
    """

    parameters: int
    parameters_published: int
    macs: int
    macs_published: int


def profile(network: nn.Module, size: tuple[int, int, int] = (3, 224, 224)) -> Profile:
    """Counts by running one blank image of ``size`` (C, H, W); the network comes back as it was.

    Raises:
        DasExplainError: the network refuses an input of that size.
    """
    like = next(network.parameters(), torch.empty(0))
    image = torch.zeros(1, *size, device=like.device, dtype=like.dtype)
    published = _PublishedCounter()
    true = FlopCounterMode(display=False, custom_mapping=_FLOPS)  # a FLOP counter: two for each MAC
    hooks = [module.register_forward_hook(published) for module in network.modules() if type(module) in _PUBLISHED]
    try:
        with as_found(network), torch.no_grad(), true:
            network(image)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DasExplainError(f"the network does not take an input of {'x'.join(map(str, size))}: {reason}") from error
    finally:
        for hook in hooks:
            hook.remove()
    return Profile(
        parameters=_parameters(network),
        parameters_published=sum(map(_parameters, published.seen)),
        macs=true.get_total_flops() // 2,
        macs_published=published.macs,
    )


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# --- true: what torch's counter has no formula for, in FLOPs of the shapes that reach the operator


def _grid_sample_flops(x: tuple, grid: tuple, *_, out_shape: tuple, **__) -> int:
    return 2 * BILINEAR_TAPS * prod(out_shape)


def _deform_conv2d_flops(x: tuple, weight: tuple, *_, out_shape: tuple, **__) -> int:
    n, _, h, w = out_shape
    sampled = n * h * w * x[1] * prod(weight[2:])
    return 2 * BILINEAR_TAPS * sampled + 2 * n * h * w * prod(weight)


_FLOPS: dict = {
    torch.ops.aten.grid_sampler_2d: _grid_sample_flops,
    torch.ops.aten.cudnn_grid_sampler: _grid_sample_flops,
    torch.ops.torchvision.deform_conv2d: _deform_conv2d_flops,
}

# --- as published: thop's rules, for the exact types it knows (a subclass is unknown to it)


class _PublishedCounter:
    def __init__(self) -> None:
        self.macs = 0
        self.seen: set[nn.Module] = set()

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.macs += _PUBLISHED[type(module)](module, inputs[0], output)
        self.seen.add(module)


def _conv(module: nn.Module, x: Tensor, out: Tensor) -> int:
    return int(out.numel() * (x.shape[1] // module.groups) * prod(module.weight.shape[2:]))


def _norm(module: nn.Module, x: Tensor, out: Tensor) -> int:
    affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
    return (4 if affine else 2) * x.numel()


def _linear(module: nn.Module, x: Tensor, out: Tensor) -> int:
    return int(module.in_features * out.numel())


def _average_pool(module: nn.Module, x: Tensor, out: Tensor) -> int:
    return out.numel()


def _adaptive_average_pool(module: nn.Module, x: Tensor, out: Tensor) -> int:
    window = prod(side / out_side for side, out_side in zip(x.shape[2:], out.shape[2:]))
    return int((window + 1) * out.numel())


_PUBLISHED: dict[type[nn.Module], Callable[[nn.Module, Tensor, Tensor], int]] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d), _conv),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.InstanceNorm2d), _norm),
    nn.Linear: _linear,
    nn.AvgPool2d: _average_pool,
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d), _adaptive_average_pool),
}
