"""One look at a network at work: what it answers, and which of its modules give maps."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from das_explain.errors import DasExplainError
from das_explain.nn.running import as_found

NOT_BLOCKS = (nn.AdaptiveAvgPool2d, nn.Dropout, nn.Softmax)
SCRIPTED = "TorchScript, which cannot be watched at work; give the Python network that it was made from"


@dataclass(frozen=True)
class Probe:
    """One forward pass of a blank image: ``num_classes``, and the modules that gave a map, in order of finishing."""

    num_classes: int
    maps: tuple[tuple[str, tuple[int, int]], ...]


def probe(network: nn.Module, size: tuple[int, int]) -> Probe:
    """Runs one blank image of ``size`` (height, width) through ``network``, in eval mode, and leaves it as it was.

    Raises:
        DasExplainError: the network refuses the image, or does not return logits (N, classes).
    """
    finished: list[tuple[str, tuple[int, int]]] = []
    calls: Counter[str] = Counter()

    def watch(name: str):
        def note(module: nn.Module, inputs: tuple, output: object) -> None:
            calls[name] += 1
            if isinstance(output, Tensor) and _is_map(output, size) and not isinstance(module, NOT_BLOCKS):
                finished.append((name, (output.shape[2], output.shape[3])))

        return note

    like = next(network.parameters(), torch.empty(0))
    handles = [
        module.register_forward_hook(watch(name))
        for name, module in network.named_modules()
        if name and not isinstance(module, torch.jit.ScriptModule)  # takes no hook
    ]
    try:
        with as_found(network), torch.no_grad():
            logits = network(torch.zeros(1, 3, *size, device=like.device, dtype=like.dtype))
    except Exception as error:  # somebody else's network: whatever it raises is the answer
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DasExplainError(f"the network does not take an image of 3x{size[0]}x{size[1]}: {reason}") from error
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != 1:
        got = f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise DasExplainError(f"the network must return logits (N, classes); for one image it returned {got}")
    return Probe(logits.shape[1], tuple((name, shape) for name, shape in finished if calls[name] == 1))


def _is_map(output: Tensor, size: tuple[int, int]) -> bool:
    """(N, C, H, W) with the image's aspect, up to a pixel of rounding: not (N, H, W, C), not pooled to a pixel."""
    if output.dim() != 4:
        return False
    height, width = output.shape[2:]
    return height * width > 1 and abs(height * size[1] - width * size[0]) <= max(size)
