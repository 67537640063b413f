"""What the gates of a network do with a batch of images, from one forward pass."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from das_explain.nn.gate import Gate
from das_explain.nn.interventions import gates_of, with_gates
from das_explain.nn.running import as_found, check_logits


@dataclass(frozen=True)
class GateView:
    """One gate on N images; all float32.

    ``attention`` is A as it acts (``Gate.acting``), (N, C, h, w), (N, 1, h, w) where it is the same for all channels,
    (N, C, 1, 1) where it knows no positions. ``passed`` (N, h, w) is A where the features are, ``sum_c |X_c| A_c / sum_c |X_c|``: of a gate X A the
    share of the features that it lets through at a position. (A gate that normalises over the channels has nearly the
    same mean A everywhere; what it does to a place shows here.) ``offset`` (N, K, 2, h, w), (dy, dx) in pixels of the
    map, and ``modulation`` (N, K, h, w), in 0 to ``modulation_scale``, are those of a deformable kernel of K taps, ``None``
    without one.
    """

    attention: Tensor
    passed: Tensor
    offset: Tensor | None
    modulation: Tensor | None
    per_channel: bool
    modulation_scale: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the features."""
        return self.passed.shape[1], self.passed.shape[2]

    def cpu(self) -> GateView:
        """The same on the CPU."""
        moved = {f.name: value.cpu() for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}
        return replace(self, **moved)


def look(network: nn.Module, images: Tensor) -> tuple[Tensor, dict[str, GateView]]:
    """Logits float32 (N, K) and, by name and in forward order, what every gate did.

    The network is left as it was; it runs in eval mode, without gradients.
    """
    names, views = list(gates_of(network)), {}
    with as_found(network), torch.no_grad():
        watched = with_gates(network, lambda gate, number: _Watched(gate, names[number], views))
        logits = check_logits(watched(images), len(images)).float()
    return logits, views


class _Watched(nn.Module):
    def __init__(self, gate: Gate, name: str, views: dict[str, GateView]) -> None:
        super().__init__()
        self.gate, self.name, self.views = gate, name, views

    def forward(self, x: Tensor) -> Tensor:
        attention = self.gate.attention(x)
        self.views[self.name] = _view(self.gate, x, self.gate.acting(attention))
        return self.gate.weigh(x, attention)


def _view(gate: Gate, x: Tensor, attention: Tensor) -> GateView:
    attention = attention.float().expand(len(x), -1, -1, -1)
    size = x.float().abs()
    total = size.sum(1)
    mean = attention.mean(1).expand_as(total)
    passed = torch.where(total > 0, (size * attention).sum(1) / total.clamp_min(torch.finfo(total.dtype).tiny), mean)
    offset = modulation = None
    if (sampling := gate.sampling(x)) is not None:
        offset, modulation = sampling[0].float().unflatten(1, (-1, 2)), sampling[1].float()
    return GateView(attention, passed, offset, modulation, gate.per_channel, gate.modulation_scale)


def describe(view: GateView, row: int, mask: Tensor | None) -> dict[str, float | int | None]:
    """The numbers of one gate on one image; ``mask`` bool (H, W) is the object in the frame.

    ``a_mean``, ``a_min``, ``a_max`` of A; ``a_sd_positions`` its deviation over positions (mean over channels) and
    ``a_sd_channels`` over channels (mean over positions); ``passed_object`` and ``passed_background`` the means of
    ``passed`` in the object and outside, a map pixel counting by how much of it the object covers; ``offset_mean`` and
    ``offset_max`` how far the taps look from the regular grid, in map pixels; ``modulation_mean``.
    """
    attention, (height, width) = view.attention[row], view.size
    numbers: dict[str, float | int | None] = {"height": height, "width": width, "channels": len(attention)}
    numbers |= {
        "a_mean": attention.mean().item(),
        "a_min": attention.min().item(),
        "a_max": attention.max().item(),
        "a_sd_positions": attention.flatten(1).std(1, correction=0).mean().item(),
        "a_sd_channels": attention.std(0, correction=0).mean().item(),
    }
    numbers |= dict.fromkeys(("passed_object", "passed_background", "offset_mean", "offset_max", "modulation_mean"))
    if mask is not None:
        covered = F.adaptive_avg_pool2d(mask[None, None].to(attention), (height, width))[0, 0]
        for name, share in (("passed_object", covered), ("passed_background", 1 - covered)):
            numbers[name] = ((view.passed[row] * share).sum() / share.sum()).item() if share.any() else None
    if view.offset is not None and view.modulation is not None:
        length = view.offset[row].norm(dim=1)
        numbers |= {"offset_mean": length.mean().item(), "offset_max": length.max().item()}
        numbers["modulation_mean"] = view.modulation[row].mean().item()
    return numbers
