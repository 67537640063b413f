"""Every attention module by name, made of a number of channels; and all of them as one network of many outputs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from das_explain.nn.attention.a2 import DoubleAttention
from das_explain.nn.attention.abn import ABN
from das_explain.nn.attention.asr import ASR
from das_explain.nn.attention.bam import BAM
from das_explain.nn.attention.cbam import CBAM
from das_explain.nn.attention.das import das_gate
from das_explain.nn.attention.defcon1 import Defcon1
from das_explain.nn.attention.eca import ECA
from das_explain.nn.attention.emca import EMCA
from das_explain.nn.attention.gala import GALA
from das_explain.nn.attention.gc import GlobalContext
from das_explain.nn.attention.gsop import GSoP
from das_explain.nn.attention.se import SE
from das_explain.nn.attention.srm import SRM
from das_explain.nn.attention.triplet import TripletAttention
from tests.nn.lively import lively

MODULES: dict[str, Callable[[int], nn.Module]] = {
    "se": SE,
    "bam": BAM,
    "cbam": CBAM,
    "gsop": GSoP,
    "a2": DoubleAttention,
    "gc": GlobalContext,
    "gala": GALA,
    "srm": SRM,
    "triplet": TripletAttention,
    "emca": EMCA,
    "emca-eca": partial(EMCA, excitation="eca"),
    "asr": ASR,
    "eca": ECA,
    "defcon1": Defcon1,
    "defcon1-shuffle": partial(Defcon1, offsets="shuffle", weighted=True),
    "defcon1-correlation": partial(Defcon1, offsets="correlation"),
    "defcon1-correlation-maps": partial(Defcon1, offsets="correlation-maps"),
    "abn": lambda channels: ABN(nn.Sequential(nn.Conv2d(channels, 40, 1), nn.ReLU()), 40, 5),
    "das": das_gate,
    **{f"das-{letter}": partial(das_gate, variant=letter) for letter in "abdefgh"},
}


class Together(nn.Module):
    """(N, channels, H, W) -> name -> the output of that module, as after training, in float32."""

    def __init__(self, names: tuple[str, ...] = tuple(MODULES), channels: int = 32) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({name: lively(MODULES[name](channels)).float() for name in names})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {name: part(x) for name, part in self.parts.items()}
