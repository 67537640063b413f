"""What the attentions that multiply a map have in common: the seam where they are looked at and replaced."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """Multiplies a map by an attention A that it makes of it: X A, or X + X A where ``residual``.

    A subclass defines ``attention`` and keeps ``forward``: with one of its own it is no gate to others. ``per_channel``:
    A has one weight for each channel, whatever the position. ``modulation_scale``: the modulation of a deformable kernel
    lies between 0 and this. ``strength``: a learned number s that a gate has only after ``start_as_identity``.

    >>> class Brightest(Gate):
    ...     def attention(self, x):
    ...         return (x == x.amax((2, 3), keepdim=True)).float()
    >>> Brightest()(torch.tensor([[[[1.0, 3.0], [2.0, 0.0]]]]))
    tensor([[[[0., 3.],
              [0., 0.]]]])
    """

    residual = False
    per_channel = False
    modulation_scale = 1.0
    strength: nn.Parameter | None

    def __init__(self) -> None:
        super().__init__()
        self.register_parameter("strength", None)

    def start_as_identity(self) -> None:
        """Makes an untrained gate one that passes every map as it is, for layers that are trained already.

        X + s (G(X) - X) stands in the place of the gate G(X) from then on, with one more parameter, s, that starts at 0:
        so do non-local blocks "insert into any pre-trained model, without breaking its initial behavior" (Wang et al. 2018,
        Sec. 3.3), and ReZero (Bachlechner et al. 2021, Eq. 1). With s = 1 it is the paper's gate.
        """
        self.strength = nn.Parameter(torch.zeros(()))

    def attention(self, x: Tensor) -> Tensor:
        """A: (N, C, H, W) -> a tensor that broadcasts to it."""
        raise NotImplementedError

    def sampling(self, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """Offsets (N, 2 K, H, W), (dy, dx) in pixels of the map, and modulation (N, K, H, W), in 0 to
        ``modulation_scale``, of the deformable kernel.

        As ``deform.modulated_deform_conv2d`` takes them; ``None``: the gate has no such kernel.
        """
        return None

    def acting(self, attention: Tensor) -> Tensor:
        """What becomes of A before it meets the map: A itself, with a ``strength`` 1 + s (A - 1), or s A where ``residual``."""
        if self.strength is None:
            return attention
        return self.strength * attention if self.residual else 1 + self.strength * (attention - 1)

    def weigh(self, x: Tensor, attention: Tensor) -> Tensor:
        """The map with an attention, its own or another."""
        weighted = x * self.acting(attention).to(x.dtype)
        return x + weighted if self.residual else weighted

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return self.weigh(x, self.attention(x))
