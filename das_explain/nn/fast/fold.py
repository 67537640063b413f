"""A faster copy of a network for inference, equal to the original up to rounding.

Batch norm in eval mode is one multiplication and one addition per channel: it folds into the convolution before it.
Convolution, addition and ReLU of a ResNet's blocks then run as one operator (``fused.py``). With channels_last memory
that saves a quarter or more of the time of an explanation on a CPU (``benchmarks/cam.py``).

Up to rounding: in float64 the maps agree to 1e-5 (``tests/test_cam.py``). In float32 a value next to a ReLU's kink can
fall on its other side, here as in any change of layout, and moves the maps of early blocks a little: on the shipped
models by up to 5e-4 at block 3, as much as float32 itself differs from float64 there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import ResNet

from das_explain.nn.backbones.resnet import BranchedResNet
from das_explain.nn.fast.fused import BLOCKS, FusedBlock, FusedConv2d, FusedStem, fusible
from das_explain.nn.running import as_found, channels_of, check_logits, copy_of

NETWORKS = (ResNet, BranchedResNet)
NAMED_PAIRS = {kind.forward for kind in (*BLOCKS, *NETWORKS)}
# they run bn1 on the output of conv1, bn2 on that of conv2 ...


def folded(network: nn.Module, keep: Collection[nn.Module] = (), *, dtype: torch.dtype | None = None) -> nn.Module:
    """A copy with each batch norm folded into the convolution that feeds it, in eval mode and channels_last.

    Pairs are found by their places (neighbours in an ``nn.Sequential``, torchvision's ResNet blocks). A forward that
    uses such neighbours otherwise is not seen; ``same_logits`` tells. Parameters that need no change are shared with
    the original, which is left untouched.

    Args:
        network: any network; later changes to its weights do not reach the copy.
        keep: modules of ``network`` whose own output must stay what it is; a pair that contains one is not folded.
        dtype: of the convolutions' weights, which autocast would otherwise convert in every call; default: as it is.
    """
    kept = {name for name, module in network.named_modules() if any(module is wanted for wanted in keep)}
    twin = copy_of(network).eval()
    for name, parent in list(twin.named_modules()):
        for conv_name, norm_name in _pairs(parent):
            conv, norm = getattr(parent, conv_name), getattr(parent, norm_name)
            paths = {f"{name}.{child}".lstrip(".") for child in (conv_name, norm_name)}
            if _foldable(conv, norm) and not paths & kept:
                setattr(parent, conv_name, _fold(conv, norm))
                setattr(parent, norm_name, nn.Identity())
    for module in twin.modules():
        if type(module) is nn.Conv2d and "weight" in module._parameters:  # else it is computed, as by a weight norm
            weight = module.weight.detach().to(dtype or module.weight.dtype, memory_format=torch.channels_last)
            module.weight = nn.Parameter(weight, requires_grad=False)
            if module.bias is not None:
                module.bias = nn.Parameter(module.bias.detach().to(weight.dtype), requires_grad=False)
    _fuse(twin, kept)
    return twin


@torch.no_grad()
def same_logits(network: nn.Module, twin: nn.Module, size: tuple[int, int]) -> bool:
    """Whether a float32 or float64 copy answers a random image of ``size`` (height, width) as the network does."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, channels_of(network), *size, generator=generator).to(next(network.parameters()))
    with as_found(network):
        expected, logits = (check_logits(each(image), 1) for each in (network, twin))
    return bool((logits - expected).abs().max() <= 1e-3 * expected.abs().max())


def _fuse(twin: nn.Module, kept: set[str]) -> None:
    """Residual blocks and the stem of a ResNet on oneDNN's fused operator, where nothing inside them is wanted."""
    for name, module in list(twin.named_modules()):
        stem = {"conv1", "bn1", "relu", "maxpool"}
        if type(module) in NETWORKS and not stem & kept and _ready(module, module.relu, module.maxpool):
            module.conv1, module.relu = FusedConv2d(module.conv1, relu=True), nn.Identity()
            if type(module.maxpool) is nn.MaxPool2d:
                module.conv1, module.maxpool = FusedStem(module.conv1, module.maxpool), nn.Identity()
        wanted = any(path.startswith(f"{name}.") for path in kept)
        if type(module) in BLOCKS and not wanted and _ready(module, *module.modules()):
            twin.set_submodule(name, FusedBlock(module, follows=_follows(twin, name)))


def _follows(twin: nn.Module, name: str) -> bool:
    """Whether the module stands behind a fused block in a plain sequence."""
    path, _, child = name.rpartition(".")
    parent = twin.get_submodule(path)
    before = {after: module for module, after in pairwise(parent._modules.values())}
    plain = isinstance(parent, nn.Sequential) and type(parent).forward is nn.Sequential.forward
    return plain and type(before.get(parent._modules[child])) is FusedBlock


def _ready(parent: nn.Module, *others: nn.Module) -> bool:
    """Every convolution's batch norm is folded into it, and nobody listens."""
    pairs = [(getattr(parent, conv), getattr(parent, norm)) for conv, norm in _pairs(parent)]
    folded_all = all(fusible(conv) and type(norm) is nn.Identity for conv, norm in pairs)
    return folded_all and not any(m._forward_hooks or m._forward_pre_hooks for m in (*sum(pairs, ()), *others))


def _pairs(parent: nn.Module) -> Iterator[tuple[str, str]]:
    names = list(parent._modules)
    if type(parent).forward in NAMED_PAIRS:
        yield from ((f"conv{i}", f"bn{i}") for i in (1, 2, 3) if f"conv{i}" in names and f"bn{i}" in names)
    elif isinstance(parent, nn.Sequential) and type(parent).forward is nn.Sequential.forward:
        yield from pairwise(names)


def _foldable(conv: nn.Module, norm: nn.Module) -> bool:
    return (
        type(conv) is nn.Conv2d
        and type(norm) is nn.BatchNorm2d
        and norm.track_running_stats
        and norm.affine
        and norm.num_features == conv.out_channels
        and not any((conv._forward_hooks, conv._forward_pre_hooks, norm._forward_hooks, norm._forward_pre_hooks))
    )


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    with torch.no_grad():
        return fuse_conv_bn_eval(conv, norm)
