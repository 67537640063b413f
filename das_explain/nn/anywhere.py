"""Gates in any network: after stages of a backbone that is not the registry's own.

A gate goes "between any two layers of a CNN" (DAS, Sec. 3). Here it becomes one more part of the module behind which it
stands, ``stages.2.gate``: every key of the backbone's state dict stays what it is, its weights load, and the output of
``stages.2`` is the map with attention, as in the registry's ResNets. In a plain sequence it is the last member; any other
module hands its output through it by a hook. It starts at the identity, or near it (``Gate.start_as_identity``), so that
what the backbone has learned stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from das_explain.errors import DasExplainError, UsageError, first_line
from das_explain.nn.backbones.timm_networks import build_timm, timm_size
from das_explain.nn.backbones.torchvision_networks import build_torchvision, torchvision_size
from das_explain.nn.registry import (
    ATTENTION,
    GATE_ARGUMENTS,
    NO_START,
    built,
    check_gate_arguments,
    start_as_identity,
    take_start,
)
from das_explain.nn.running import as_found, channels_of
from das_explain.nn.stages import find_stages, readings_of

THEIRS: dict[str, Callable[[str, int, Mapping[str, Any]], nn.Module]] = {
    "torchvision": build_torchvision,
    "timm": build_timm,
}
"""Whose networks can be built by name, ``torchvision:NAME`` and ``timm:NAME``."""
GATE = "gate"
TAKES = "a gate takes a map (N, C, H, W): name places that give one"


def create_theirs(
    backbone: str, attention: str = "none", num_classes: int = 1000, arguments: Mapping[str, Any] | None = None
) -> nn.Module:
    """``create_model`` for ``torchvision:NAME`` and ``timm:NAME``; ``arguments`` are the attention's, ``gates`` (names of
    modules; default: all stages), and the network's.

    Raises:
        UsageError: an unknown name or argument, or a place where no gate can stand.
    """
    arguments = dict(arguments or {})
    source, _, name = backbone.partition(":")
    if source not in THEIRS or not name:
        raise UsageError(f"unknown backbone {backbone!r}; others' networks are torchvision:NAME and timm:NAME")
    if attention == "none":
        return THEIRS[source](name, num_classes, arguments)
    of_gates = {key: arguments.pop(key) for key in GATE_ARGUMENTS if key in arguments and takes(attention, key)}
    places = arguments.pop("gates", None)
    network = THEIRS[source](name, num_classes, arguments)
    size = torchvision_size(name) if source == "torchvision" else timm_size(network)
    add_gates(network, attention, places, size=size, name=backbone, **of_gates)
    return network


def takes(attention: str, argument: str) -> bool:
    """Whether the attention has that argument; ``False`` where there is no such attention."""
    return attention in ATTENTION and argument in ATTENTION[attention].takes


def add_gates(
    network: nn.Module,
    attention: str,
    places: Sequence[str] | str | None = None,
    *,
    size: tuple[int, int],
    name: str,
    **arguments: Any,
) -> tuple[str, ...]:
    """Puts gates with random weights into ``network``, which is changed.

    Args:
        attention: a key of ``ATTENTION``.
        places: names of the modules after which they stand; default: all stages (``nn.stages``).
        size: (height, width) of a photo that the network takes.
        name: of the network, for messages.
        **arguments: the attention's; ``init`` is ``identity`` unless given, where the module has such a start (the
            DAS gate's ablations and modules that are no ``Gate`` have none).

    Returns:
        The places.

    Raises:
        UsageError: an unknown attention or argument, one that needs the registry's ResNets, or a place where no gate can
            stand; the network is then left as it was.
        DasExplainError: the network does not take a photo of that size.
    """
    what = f"{name} with attention {attention}"
    arguments = check_gate_arguments(what, attention, arguments)
    kind = ATTENTION[attention]
    if kind.per_network:
        raise UsageError(f"{attention} is wired through a whole ResNet, so {name} cannot have it")
    asked = "init" in arguments
    if not {"variant", "norms"} & arguments.keys():
        arguments = {"init": "identity", **arguments}
    own, start = take_start(attention, arguments)
    if places is None:
        places = tuple(find_stages(network, size, name))
        if not places:
            raise UsageError(f"{name} has no stage that gives a map (N, C, H, W): say where gates are to stand")
    places = (places,) if isinstance(places, str) else places
    if not isinstance(places, (list, tuple)) or not all(isinstance(place, str) for place in places):
        raise UsageError(f"gates must be names of places, not {places!r}")
    places = tuple(dict.fromkeys(places))
    channels = _channels(network, places, size, name)
    like = next(network.parameters())
    gates = {place: built(what, partial(kind.build, **own), channels[place]).to(like) for place in places}
    if start == "identity" and not start_as_identity(nn.ModuleList(gates.values())) and asked:
        raise UsageError(NO_START.format(attention))
    undo = [_insert(network.get_submodule(place), gate) for place, gate in gates.items()]
    try:
        _connect(network, gates, size, name)
    except UsageError:
        for each in undo:
            each()
        raise
    return places


def places_of(network: nn.Module) -> tuple[str, ...]:
    """Where ``add_gates`` put gates, in the order in which the network is written down."""
    return tuple(name for name, module in network.named_modules() if hasattr(module, _ADDED))


_ADDED = "_gate_added"


class _Aside:
    """A dictionary of modules that does not count the gate among them: dense blocks call all they hold, in turn."""

    _modules: dict[str, nn.Module]

    def _theirs(self) -> dict[str, nn.Module]:
        return {key: module for key, module in self._modules.items() if key != GATE}

    def keys(self) -> KeysView[str]:
        return self._theirs().keys()

    def values(self) -> ValuesView[nn.Module]:
        return self._theirs().values()

    def items(self) -> ItemsView[str, nn.Module]:
        return self._theirs().items()

    def __iter__(self) -> Iterator[str]:
        return iter(self._theirs())

    def __len__(self) -> int:
        return len(self._theirs())


def _insert(module: nn.Module, gate: nn.Module) -> Callable[[], None]:
    """Makes ``gate`` a part of ``module``; what is returned takes it out again."""
    kind = type(module)
    module.add_module(GATE, gate)
    setattr(module, _ADDED, True)
    if isinstance(module, nn.ModuleDict):
        module.__class__ = type(kind.__name__, (_Aside, kind), {"__module__": kind.__module__})

    def undo() -> None:
        module.__class__ = kind
        delattr(module, GATE)
        delattr(module, _ADDED)
        for number, hook in list(module._forward_hooks.items()):
            if hook is _through_gate:
                del module._forward_hooks[number]

    return undo


def _through_gate(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
    return module.gate(output)


def _connect(network: nn.Module, gates: Mapping[str, nn.Module], size: tuple[int, int], name: str) -> None:
    """Hands the output of each module through its gate, where the module itself, as a sequence, does not run it.

    Raises:
        UsageError: a module runs what stands in it in a way of its own.
    """
    try:
        for place, ending in _endings(network, gates, size, name).items():
            if not ending:
                network.get_submodule(place).register_forward_hook(_through_gate)
        wrong = [place for place, ending in _endings(network, gates, size, name).items() if ending != "once"]
    except DasExplainError as error:
        raise UsageError(f"no gate can stand after one of {', '.join(gates)} of {name}: {error}") from None
    if wrong:
        raise UsageError(f"no gate can stand after {wrong[0]} of {name}: it runs its parts in a way of its own")


def _endings(
    network: nn.Module, gates: Mapping[str, nn.Module], size: tuple[int, int], name: str
) -> dict[str, Literal["", "once", "else"]]:
    """Place -> what one pass makes of its gate: nothing, the end of its module, once, or something else."""
    outputs: dict[nn.Module, list[Any]] = {}

    def note(module: nn.Module, inputs: tuple, output: Any) -> None:
        outputs.setdefault(module, []).append(output)

    stages = {place: network.get_submodule(place) for place in gates}
    handles = [module.register_forward_hook(note) for module in (*gates.values(), *stages.values())]
    with _removed(handles):
        _run(network, size, name)
    return {
        place: "" if gate not in outputs else "once" if _same(outputs[gate], outputs[stages[place]]) else "else"
        for place, gate in gates.items()
    }


def _same(outputs: list[Any], others: list[Any]) -> bool:
    return len(outputs) == len(others) == 1 and outputs[0] is others[0]


def _channels(network: nn.Module, places: Sequence[str], size: tuple[int, int], name: str) -> dict[str, int]:
    """Place -> C of its map."""
    modules = dict(network.named_modules())
    for place in places:
        if place not in modules or not place:
            raise UsageError(f"{name} has no module {place!r} for a gate to stand after")
        if hasattr(modules[place], GATE):
            raise UsageError(f"{place} of {name} has a part called gate already, so no gate can be added to it")
    seen: dict[str, list[Any]] = {place: [] for place in places}

    def note(place: str, module: nn.Module, inputs: tuple, output: Any) -> None:
        seen[place].append(tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__)

    handles = [modules[place].register_forward_hook(partial(note, place)) for place in places]
    with _removed(handles):
        _run(network, size, name)
    shapes: dict[str, tuple[int, ...]] = {}
    for place, given in seen.items():
        if len(given) != 1:
            raise UsageError(f"{place} of {name} runs {len(given)} times in a pass, so no gate can stand after it")
        if not isinstance(given[0], tuple):
            raise UsageError(f"{place} of {name} gives a {given[0]}; {TAKES}")
        shapes[place] = given[0]
    try:
        readings = readings_of(network, {place: modules[place] for place in places}, shapes, size)
    except DasExplainError as error:
        raise UsageError(f"{name}: {error}") from None
    for place, reading in readings.items():
        if reading.layout.kind != "nchw":
            raise UsageError(f"{place} of {name} gives {reading}; {TAKES}")
    return {place: shape[1] for place, shape in shapes.items()}


@contextmanager
def _removed(handles: Sequence[Any]) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _run(network: nn.Module, size: tuple[int, int], name: str) -> None:
    like = next(network.parameters())
    try:
        with as_found(network), torch.no_grad():
            network(torch.zeros(1, channels_of(network), *size, device=like.device, dtype=like.dtype))
    except Exception as error:  # somebody else's network: whatever it raises is the answer
        raise DasExplainError(f"{name} does not take a photo of {size[0]}x{size[1]}: {first_line(error)}") from error
