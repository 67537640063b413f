"""Whether answers are made of probabilities, and of nothing else: wherever in the end of a network these are made.

Seen by a run in which every sigmoid, softmax and the like gives its least, and one in which it gives its most: what
follows them (clamps, heads joined or averaged, a factor of 100) then shows the least and the most that can be answered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from das_explain.nn.running import as_found, find_answer

HUGE = 1e30  # of an exponential: 1 / (1 + HUGE) is nothing, HUGE / (1 + HUGE) is one
MAKERS = {  # of ATen's names
    "sigmoid": ("sigmoid", 0.0, 1.0),
    "hardsigmoid": ("hard sigmoid", 0.0, 1.0),
    "softmax": ("softmax", 0.0, 1.0),
    "tanh": ("tanh", -1.0, 1.0),
    "exp": ("exponential", 0.0, HUGE),
}
"""Operation -> what it is called, the least and the most that it gives."""
CLAMPED = 1e-3  # by how much the least answer may be more than none, and the most less than all


@dataclass(frozen=True)
class Made:
    """Answers between 0 and ``scale`` (1: probabilities, 100: per cent), of what ``by`` gives, the last to run."""

    scale: float
    by: str


@torch.no_grad()
def made_of_probabilities(network: nn.Module, images: Tensor) -> Made | None:
    """What ``network`` makes its answers to ``images`` (N, C, H, W) of, in eval mode; ``None``: of more than
    probabilities, or nothing can be told."""
    try:
        least, by = _answers_at(network, images, 0)
        most, _ = _answers_at(network, images, 1)
    except Exception:  # somebody else's network: it need not bear such values
        return None
    if not by:
        return None
    low, high = torch.minimum(least, most), torch.maximum(least, most)  # 1 - p has its most where p has its least
    scale = float(high.mean())
    if not 0 < scale < HUGE or not torch.allclose(high, high.new_tensor(scale), rtol=CLAMPED, atol=0):
        return None
    if low.abs().max() > CLAMPED * scale:
        return None
    return Made(1.0 if abs(scale - 1) <= CLAMPED else scale, by)


class _Extremes(TorchDispatchMode):
    """Makers give the ``end`` of their range: 0, the least, or 1, the most. ``last``: the name of the last one."""

    def __init__(self, end: int) -> None:
        super().__init__()
        self.end, self.last = end, ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        maker = MAKERS.get(func.overloadpacket.__name__.strip("_"))  # "_softmax", and "sigmoid_" in place
        if maker is not None and isinstance(output, Tensor):
            self.last = maker[0]
            output.fill_(maker[1 + self.end])
        return output


def _answers_at(network: nn.Module, images: Tensor, end: int) -> tuple[Tensor, str]:
    """Float (N, K), and the last maker, if any ran."""
    with as_found(network), _Extremes(end) as extremes:
        answer = find_answer(network(images.detach()))
    assert answer is not None  # it had one before
    return answer.float().reshape(len(images), -1), extremes.last
