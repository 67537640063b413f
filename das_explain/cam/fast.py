"""The copy of a network that explanations run on: folded where that pays and is right (``nn.fast.fold``)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from das_explain.nn.fast.fold import folded, same_logits
from das_explain.nn.running import in_copy

Blocks = dict[str, nn.Module]


def fast_copy(
    network: nn.Module,
    blocks: Mapping[str, nn.Module],
    size: tuple[int, int],
    *,
    method: str = "gradcam",
    precision: str = "fp32",
) -> tuple[nn.Module, Blocks]:
    """The network as it is run on images of ``size`` (height, width), and its blocks in it.

    A folded copy on a CPU, for Grad-CAM, where the copy answers a random image as the network does; else the network
    itself. Later changes of the network's weights do not reach a copy: ``FastCopies`` minds that.

    Args:
        method: of ``cam.methods``; only ``gradcam`` runs on copies.
        precision: ``bf16`` gives the copy's convolutions weights of that type.
    """
    if method != "gradcam" or not _folds(network):
        return network, dict(blocks)
    keep = list(blocks.values())
    try:
        twin = folded(network, keep)
        right = same_logits(network, twin, size)
    except (RuntimeError, TypeError):  # somebody's network holds what cannot be copied
        right = False
    if not right:
        return network, dict(blocks)
    if precision == "bf16":
        twin = folded(network, keep, dtype=torch.bfloat16)
    return twin, in_copy(twin, network, blocks)


def _folds(network: nn.Module) -> bool:
    return next(network.parameters(), torch.empty(0)).device.type == "cpu"


class FastCopies:
    """Copies of one network for several choices of blocks, made when asked for and again when its weights change."""

    KEPT = 3  # choices of blocks at a time: each copy has convolutions of its own

    def __init__(self, network: nn.Module, size: tuple[int, int]) -> None:
        self.network, self.size = network, size
        self._copies: dict[tuple[int, ...], tuple[nn.Module, Blocks]] = {}
        self._state: bytes | None = None

    def of(self, blocks: Mapping[str, nn.Module]) -> tuple[nn.Module, Blocks]:
        """``fast_copy`` for these blocks, right for the weights that the network has now."""
        if not _folds(self.network):
            return self.network, dict(blocks)
        state = state_signature(self.network)
        if state != self._state:
            self._copies.clear()
            self._state = state
        chosen = tuple(id(module) for module in blocks.values())
        if chosen not in self._copies:
            while len(self._copies) >= self.KEPT:
                del self._copies[next(iter(self._copies))]
            self._copies[chosen] = fast_copy(self.network, blocks, self.size)
        twin, modules = self._copies[chosen]
        return twin, dict(zip(blocks, modules.values(), strict=True))


@torch.no_grad()
def state_signature(network: nn.Module) -> bytes:
    """What changes when a network's modules, hooks, parameters or buffers do, without reading all of them twice.

    Of each tensor: where it lies, PyTorch's count of its changes in place, and its sum, for changes that are not counted
    (through ``.data``). For a ResNet-50 that takes some milliseconds.
    """
    tensors = [*network.parameters(), *network.buffers()]
    modules = [(id(module), len(module._forward_hooks), len(module._forward_pre_hooks)) for module in network.modules()]
    places = [(tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors]
    sums = [_sum(tensor) for tensor in tensors]
    return repr((modules, places, sums)).encode()


def _sum(tensor: Tensor) -> float:
    tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return float(tensor.sum(dtype=torch.float32 if tensor.is_floating_point() else torch.int64))
