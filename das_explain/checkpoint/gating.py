"""``SPEC+attention=NAME[@BLOCK,...]``: untrained gates in a network that has its weights already."""

from __future__ import annotations

from typing import Any

from torch import nn

from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.randomize import seeded
from das_explain.checkpoint.spec import ModelSpec
from das_explain.errors import UsageError
from das_explain.nn.anywhere import add_gates
from das_explain.nn.registry import ATTENTION, BACKBONES, create_model


def put_gates(opened: Opened, spec: ModelSpec) -> nn.Module:
    """The network with gates, in eval mode; ``opened`` is told of them, in a note too.

    In a backbone of the registry they stand where the module's paper puts them, or where the spec says, in any other after
    its stages, or where the spec says. They start at the identity (``init``), a DAS gate near it. The weights they start
    with are the same each time.

    Raises:
        UsageError: the network has an attention already, or no gate can stand there.
    """
    attention, _, blocks = (spec.attention or "").partition("@")
    if opened.attention != "none":
        raise UsageError(f"{spec.text}: it has gates already, {opened.attention}; leave +attention= out")
    places = tuple(blocks.split(",")) if blocks else None
    arguments: dict[str, Any] = {"init": "identity"}
    told = "start near the identity" if attention == "das" else "change nothing yet"
    with seeded():
        try:
            if opened.architecture in BACKBONES:
                given = {**opened.arguments, **arguments, **({"gates": places} if places else {})}
                network = create_model(opened.architecture, attention, opened.num_classes or 1000, **given)
                network.load_state_dict(opened.network.state_dict(), strict=False)
                if kind := ATTENTION[attention].backbone.keys() - opened.arguments.keys():
                    told += (
                        f", but {attention}'s paper changes the network, too ({', '.join(kind)}): it answers otherwise"
                    )
            else:
                network, size = opened.network, opened.preprocess.geometry.size
                places = add_gates(network, attention, places, size=size, name=opened.architecture, **arguments)
        except UsageError as error:
            raise UsageError(f"{spec.text}: {error}") from None
    if places:
        arguments["gates"] = places
    opened.network, opened.attention, opened.arguments = network, attention, {**opened.arguments, **arguments}
    opened.notes.append(f"{spec.text}: the gates are untrained and {told}")
    return network.float().eval()
