"""Name -> network. A new attention module is one file and one entry of ``ATTENTION``; a new backbone likewise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from das_explain.errors import UsageError
from das_explain.nn.attention.a2 import DoubleAttention
from das_explain.nn.attention.abn import Branch
from das_explain.nn.attention.asr import ASR
from das_explain.nn.attention.bam import BAM
from das_explain.nn.attention.cbam import CBAM
from das_explain.nn.attention.cbam import rename_published as rename_cbam
from das_explain.nn.attention.das import das_gate
from das_explain.nn.attention.defcon1 import Defcon1
from das_explain.nn.attention.eca import BOTTLENECK_KERNELS, ECA, PUBLISHED_KERNELS
from das_explain.nn.attention.eca import rename_published as rename_eca
from das_explain.nn.attention.emca import Chain
from das_explain.nn.attention.gala import GALA
from das_explain.nn.attention.gc import GlobalContext
from das_explain.nn.attention.gsop import GSoP
from das_explain.nn.attention.se import SE
from das_explain.nn.attention.srm import SRM
from das_explain.nn.attention.triplet import TripletAttention
from das_explain.nn.attention.triplet import rename_published as rename_triplet
from das_explain.nn.backbones.mobilenet import BLOCK_PLACES, PAPER_GATES, mobilenet_v2
from das_explain.nn.backbones.resnet import DEPTHS, STAGES, block_places, resnet

BACKBONES: dict[str, Callable[..., nn.Module]] = {
    **{name: partial(resnet, name) for name in DEPTHS},
    "mobilenet_v2": mobilenet_v2,
}
BOTTLENECKS = ("resnet50", "resnet101", "resnet152")


@dataclass(frozen=True)
class Attention:
    """A module and where its paper puts it.

    ``build``: channels and ``arguments`` -> module. Where the modules of a network depend on it or on each other
    (``per_network``): backbone, number of classes, gates and ``arguments`` -> what makes them of channels, in forward
    order; its ``finish(network)``, if it has one, is called at the end.
    ``places``: backbone -> its gates when none are asked for, ``None`` where the paper defines none; ``places_with``:
    the same for one value of an argument, {(argument, value): backbone -> gates}.
    ``inside``: before the addition of residual blocks.
    ``arguments``: the module's own; ``takes`` are these and ``init``, which every one has.
    ``defaults``: backbone -> arguments of the module there, where they are not its own defaults; ``published``: what the
    value ``published`` of an argument stands for, {argument: {backbone: value}}.
    ``rename_published``: a state dict that the authors publish -> ours; another one -> itself.
    ``backbone``: the backbone's arguments.
    """

    build: Callable[..., Any]
    places: Callable[[str], tuple[str, ...] | None]
    inside: bool = True
    per_network: bool = False
    arguments: tuple[str, ...] = ()
    places_with: dict[tuple[str, Any], Callable[[str], tuple[str, ...] | None]] = field(default_factory=dict)
    defaults: Callable[[str], dict[str, Any]] = lambda backbone: {}
    published: dict[str, dict[str, Any]] = field(default_factory=dict)
    rename_published: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] | None = None
    backbone: dict[str, Any] = field(default_factory=dict)

    @property
    def takes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.arguments, "init")))


def _stages(backbone: str) -> tuple[str, ...]:
    return STAGES if backbone in DEPTHS else PAPER_GATES


def _blocks(backbone: str) -> tuple[str, ...]:
    return block_places(backbone) if backbone in DEPTHS else BLOCK_PLACES


def _on_resnets(places: Callable[[str], tuple[str, ...]]) -> Callable[[str], tuple[str, ...] | None]:
    return lambda backbone: places(backbone) if backbone in DEPTHS else None


def _last_blocks(backbone: str) -> tuple[str, ...]:
    return tuple(f"{stage}.{depth - 1}" for stage, depth in zip(STAGES, DEPTHS[backbone][1]))


def _first_blocks(backbone: str) -> tuple[str, ...]:
    return tuple(f"{stage}.0" for stage in STAGES)


def _every_other_block(backbone: str) -> tuple[str, ...]:
    depths = dict(zip(STAGES, DEPTHS[backbone][1]))
    return tuple(f"{stage}.{i}" for stage in ("layer2", "layer3") for i in range(1, depths[stage], 2))


def _bottleneck_kernels(backbone: str) -> dict[str, Any]:
    return {"kernel_size": BOTTLENECK_KERNELS} if backbone in BOTTLENECKS else {}


def _small_on_mobilenet(backbone: str) -> dict[str, Any]:
    return {} if backbone in DEPTHS else {"kernel_size": 3}


ATTENTION: dict[str, Attention] = {
    "das": Attention(
        das_gate, _stages, inside=False, arguments=("alpha", "init", "variant", "norms", "modulation_scale")
    ),
    "se": Attention(SE, _blocks, arguments=("reduction",)),
    "bam": Attention(BAM, _on_resnets(lambda backbone: STAGES[:3]), inside=False, arguments=("reduction",)),
    "cbam": Attention(CBAM, _blocks, arguments=("reduction",), rename_published=rename_cbam),
    "gsop": Attention(GSoP, _on_resnets(_last_blocks), backbone={"last_stride": 1}),
    "a2": Attention(DoubleAttention, _on_resnets(_every_other_block), inside=False, arguments=("reduction",)),
    "gc": Attention(GlobalContext, _blocks, arguments=("reduction",)),
    "gala": Attention(GALA, _blocks, arguments=("reduction",)),
    "abn": Attention(Branch, _on_resnets(lambda backbone: STAGES[2:3]), inside=False, per_network=True),
    "srm": Attention(SRM, _blocks),
    "triplet": Attention(
        TripletAttention,
        _blocks,
        arguments=("kernel_size",),
        defaults=_small_on_mobilenet,
        rename_published=rename_triplet,
    ),
    "emca": Attention(
        Chain,
        _on_resnets(_first_blocks),
        per_network=True,
        arguments=("excitation", "scales"),
        places_with={("scales", "every"): _on_resnets(_last_blocks)},
    ),
    "asr": Attention(ASR, _blocks, arguments=("reduction",)),
    "eca": Attention(
        ECA,
        _blocks,
        arguments=("kernel_size",),
        defaults=_bottleneck_kernels,
        published={"kernel_size": PUBLISHED_KERNELS},
        rename_published=rename_eca,
    ),
    "defcon1": Attention(
        Defcon1, _blocks, arguments=("kernel_size", "offsets", "weighted"), defaults=_bottleneck_kernels
    ),
}
GATE_ARGUMENTS = tuple(dict.fromkeys(name for attention in ATTENTION.values() for name in attention.takes))
STARTS = ("default", "identity")
"""How gates start, the argument ``init``: as their papers have it, or such that they change nothing, or next to nothing,
of what layers around them have learned (``start_as_identity``)."""
BLOCKS: dict[str, tuple[str, ...]] = {name: _stages(name) for name in BACKBONES}
"""The blocks of each backbone that can be explained by name, in forward order; the last two are the default."""


def default_gates(backbone: str, attention: str, **arguments: Any) -> tuple[str, ...] | None:
    """Where the attention's paper puts it in this backbone; ``None``: nowhere, the pair cannot be built.

    ``arguments``: the attention's, some of which have places of their own.
    """
    kind = ATTENTION[attention]
    given = [kind.places_with[pair] for pair in kind.places_with if arguments.get(pair[0]) == pair[1]]
    return (given[0] if given else kind.places)(backbone)


def attentions_of(backbone: str) -> tuple[str, ...]:
    """The attentions that can be built into a backbone.

    >>> attentions_of("mobilenet_v2")[:3]
    ('das', 'se', 'cbam')
    """
    return tuple(name for name in ATTENTION if default_gates(backbone, name) is not None)


def create_model(backbone: str, attention: str = "none", num_classes: int = 1000, **kwargs: Any) -> nn.Module:
    """Builds a network with random weights.

    Args:
        backbone: a key of ``BACKBONES``, or ``torchvision:NAME`` or ``timm:NAME``, any network of theirs; gates then
            stand after its stages (``nn.anywhere``).
        attention: ``none`` or a key of ``ATTENTION``. ``none`` takes torchvision's, or timm's, state dicts as they are.
        num_classes: number of logits.
        **kwargs: the attention's (of ``GATE_ARGUMENTS``: ``alpha=0.2``, ``variant`` ..; ``init`` of ``STARTS``, which is
            ``identity`` in others' networks unless given) and the backbone's (``gates``, ``stem``, ``last_stride``)
            arguments.

    Raises:
        UsageError: an unknown name or argument, or an attention that has no place in the backbone.

    >>> network = create_model("resnet18", attention="das", num_classes=10, alpha=0.1)
    >>> [name for name, module in network.named_modules() if type(module).__name__ == "DASGate"]
    ['layer1.gate', 'layer2.gate', 'layer3.gate', 'layer4.gate']
    """
    if ":" in backbone:
        from das_explain.nn.anywhere import create_theirs

        return create_theirs(backbone, attention, num_classes, kwargs)
    if backbone not in BACKBONES:
        raise UsageError(f"unknown backbone {backbone!r}; choose among {', '.join(BACKBONES)}")
    what = f"{backbone} with attention {attention}"
    if attention == "none":
        if given := [name for name in (*GATE_ARGUMENTS, "gates") if name in kwargs]:
            raise UsageError(f"{what} has no gates, so it takes no {given[0]!r}; leave it out")
        return built(what, BACKBONES[backbone], None, num_classes=num_classes, **kwargs)
    of_gates = {name: kwargs.pop(name) for name in GATE_ARGUMENTS if name in kwargs}
    of_gates = check_gate_arguments(what, attention, of_gates)
    kind, places = ATTENTION[attention], default_gates(backbone, attention)
    if places is None:
        raise UsageError(f"{attention} has no place in {backbone}; it takes {', '.join(attentions_of(backbone))}")
    for name, values in kind.published.items():
        if of_gates.get(name) == "published":
            of_gates[name] = values[backbone]
    own, start = take_start(attention, kind.defaults(backbone) | of_gates)
    arguments = {"gates": default_gates(backbone, attention, **of_gates)} | kind.backbone | kwargs
    make = partial(kind.build, **own)
    if kind.per_network:
        make = kind.build(backbone, num_classes, arguments["gates"], **own)
    network = built(what, BACKBONES[backbone], make, kind.inside, num_classes=num_classes, **arguments)
    if hasattr(make, "finish"):
        make.finish(network)
    if start == "identity" and not start_as_identity(network):
        raise UsageError(NO_START.format(attention))
    return network


def take_start(attention: str, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The arguments of an attention's modules without ``init``, and that; a DAS gate is told by itself and keeps it."""
    own = dict(arguments)
    return own, "default" if "init" in ATTENTION[attention].arguments else own.pop("init", "default")


NO_START = "{} has no start at the identity; leave init out"


def start_as_identity(network: nn.Module) -> bool:
    """Has every untrained gate of a network start so, in place; whether any of its modules can."""
    starts = [start for module in network.modules() if callable(start := getattr(module, "start_as_identity", None))]
    for start in starts:
        start()
    return bool(starts)


def check_gate_arguments(what: str, attention: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of an attention's modules; ``what`` is the network, for the message.

    Raises:
        UsageError: no such attention, or no such argument of it.
    """
    if attention not in ATTENTION:
        raise UsageError(f"unknown attention {attention!r}; choose among none, {', '.join(ATTENTION)}")
    known = ATTENTION[attention].takes
    if foreign := [name for name in arguments if name not in known]:
        raise UsageError(f"cannot build {what}: it takes no {foreign[0]!r}, but {', '.join((*known, 'gates'))}")
    reduction = arguments.get("reduction", 1)
    if type(reduction) is not int or reduction < 1:
        raise UsageError(f"reduction must be a whole number, at least 1, not {reduction!r}")
    if arguments.get("init", "default") not in STARTS:
        raise UsageError(f"init must be {' or '.join(STARTS)}, not {arguments['init']!r}")
    return dict(arguments)


def built(what: str, build: Callable[..., nn.Module], *args: Any, **kwargs: Any) -> nn.Module:
    """What ``build`` gives; its complaints are ``UsageError``s."""
    try:
        return build(*args, **kwargs)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"cannot build {what}: {error}") from None


def _das(backbone: str) -> Callable[..., nn.Module]:
    def build(num_classes: int = 1000, **kwargs: Any) -> nn.Module:
        return create_model(backbone, attention="das", num_classes=num_classes, **kwargs)

    build.__name__ = f"das_{backbone}"
    build.__doc__ = f"""{backbone} with DAS gates; arguments as ``create_model``.

    >>> sum(p.numel() for p in das_{backbone}(num_classes=10).parameters()) > 1e6
    True
    """
    return build


das_resnet18, das_resnet50, das_resnet101 = _das("resnet18"), _das("resnet50"), _das("resnet101")
das_mobilenet_v2 = _das("mobilenet_v2")
