"""The weights in what a training loop saved: which entry of the file, and which prefix of its keys.

A file is read in several ways, from its own keys to the most peeled; the network's keys decide. What was taken off, and
what was left out, goes with a reading, so that it can be said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from das_explain.checkpoint.entries import (
    choose_entry,
    holds_weights,
    is_average,
    is_swapped,
    keeps_average,
    only_entry,
    shadow_in,
)
from das_explain.checkpoint.pickled import StandIn, state_of_module
from das_explain.errors import DasExplainError
from das_explain.nn.registry import ATTENTION
from das_explain.text import cut_middle

PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "net.")
"""DistributedDataParallel's and AveragedModel's, torch.compile's, and what Lightning modules call their network."""
INNER = ("_orig_mod.", "_fsdp_wrapped_module.", "_fpw_module.", "_checkpoint_wrapped_module.")
"""What torch.compile, FSDP and activation checkpointing put into the midst of keys."""
OPTIONAL = "num_batches_tracked"  # a counter that inference does not use and old files do not have
SPREAD = 2**20  # values that a tensor may repeat of fewer that are stored
LONGEST = 100  # characters of a key in a message


@dataclass(frozen=True)
class Candidate:
    """One reading of a file as a state dict.

    ``peeled``: which wrappers were taken off to get there. ``left_out``: keys beside the network. ``others``: entries
    or prefixes that hold weights, too. ``alike``: among these, prefixes that fit the network as well. ``shadow``: an
    average's parameters without names. ``beside``: the readings of the weights that an average was made of.
    """

    state: dict[str, Tensor]
    peeled: tuple[str, ...] = ()
    left_out: tuple[str, ...] = field(default=(), repr=False)
    others: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()
    shadow: tuple[Tensor, ...] = field(default=(), repr=False)
    beside: tuple[Candidate, ...] = field(default=(), repr=False)


def candidates(content: Any, source: str, entry: str | None = None) -> list[Candidate]:
    """The readings of what a file held, from its own keys to the most peeled.

    Args:
        source: the file, for messages.
        entry: the entry to take, or a prefix of keys, where there are several; otherwise the one that ``entries`` chooses.

    Raises:
        DasExplainError: no state dict in it, or none of that name.
    """
    readings = [_state_dict(content, source, entry)]
    while prefix := _common_prefix(readings[-1].state):
        readings.append(_below(readings[-1], prefix))
    if any(inner in key for key in readings[-1].state for inner in INNER):  # parts were wrapped one by one
        readings.append(_without_inner(readings[-1]))
    return [*readings, *_with_our_names(readings[-1])]


def best_reading(readings: Sequence[Candidate], expected: Mapping[str, Any]) -> Candidate:
    """The reading that shares most keys with ``expected``, below any prefix; of equals the least peeled."""
    below = [each for reading in readings for each in _below_any_prefix(reading, expected)]
    every = [*readings, *below, *(ours for each in below for ours in _with_our_names(each))]
    return max(every, key=lambda reading: len(reading.state.keys() & expected.keys()))


def _state_dict(content: Any, source: str, entry: str | None) -> Candidate:
    """The first reading.

    Where no entry holds the weights and most entries are tensors, these are the weights; what a training loop put
    among them (``epoch``) is left out. A tensor that the network does not have is still foreign.
    """
    peeled: list[str] = []
    others: tuple[str, ...] = ()
    beside: tuple[Candidate, ...] = ()
    opened: list[Any] = []  # kept, so that no other has its id
    while True:
        if any(content is each for each in opened):
            raise DasExplainError(f"{source} holds no state dict: an entry of it contains itself")
        opened.append(content)
        if isinstance(content, StandIn) and (state := state_of_module(content)):
            content = state
            peeled.append("a network that was pickled whole")
        if not isinstance(content, Mapping):
            raise DasExplainError(f"{source} holds {_kind(content)} where a state dict is needed")
        if entry is not None and holds_weights(content.get(entry)):
            chosen, entry = entry, None
            others = (*others, *(key for key in _filled(content) if key != chosen))
        elif entry is None and (shadow := shadow_in(content)):
            _check_tensors(dict(zip(map(str, range(len(content[shadow]))), content[shadow])), source)
            return _nameless(content[shadow], (*peeled, f"entry {shadow}"), others, beside)
        else:
            tensors = {
                key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)
            }
            filled = _filled(content)
            found = choose_entry(content, filled)
            if found is None and len(tensors) > len(content) / 2:
                _check_tensors(tensors, source)
                left_out = tuple(str(key) for key in content if key not in tensors)
                first = Candidate(tensors, tuple(peeled), left_out, others, beside=beside)
                return first if entry is None else _below_entry(first, entry, source, content)
            found = found or only_entry(content, filled)
            if found is None and entry is not None:
                raise DasExplainError(f"{source} has no entry {entry!r} with weights; it has {_names(content)}")
            if found is None:
                hint = (
                    f"; ?entry=NAME after the architecture names one of {', '.join(cut_middle(key, LONGEST) for key in filled[:4])}"
                    if filled
                    else ""
                )
                raise DasExplainError(f"{source} holds no state dict: its entries are {_names(content)}{hint}")
            chosen = found
            others = (*others, *(key for key in filled if key != chosen))
        if not beside and keeps_average(chosen, content[chosen]):
            beside = _others(content, chosen, source)
        peeled.append(
            f"entry {chosen}{', which is an average' if is_swapped(content) and chosen == 'state_dict' else ''}"
        )
        content = content[chosen]


def _filled(content: Mapping[Any, Any]) -> list[str]:
    return [key for key, value in content.items() if isinstance(key, str) and holds_weights(value)]


def _nameless(
    shadow: Sequence[Tensor], peeled: tuple[str, ...], others: tuple[str, ...], beside: tuple[Candidate, ...]
) -> Candidate:
    """An average without names: under those of the weights it was made of, if it has all of them, as NeMo's; else its
    tensors are parameters, which the network names."""
    state = beside[0].state if beside else {}
    if [each.shape for each in shadow] == [each.shape for each in state.values()]:
        return Candidate(dict(zip(state, shadow, strict=True)), peeled, others=others)
    return Candidate(state, peeled, others=others, shadow=tuple(shadow), beside=beside)


def _check_tensors(tensors: Mapping[str, Tensor], source: str) -> None:
    """Raises DasExplainError for a tensor that is no plain array of numbers, or says that it has more than the file."""
    for key, tensor in tensors.items():
        kind = "nested" if tensor.is_nested else "sparse" if tensor.layout != torch.strided else None
        if tensor.is_meta:
            kind = "meta"
        elif kind is None and not tensor.is_quantized and tensor.numel() > SPREAD:
            stored = tensor.untyped_storage().nbytes()
            kind = "repeated" if stored < tensor.numel() * tensor.element_size() else None
        if kind:
            raise DasExplainError(
                f"{source} holds {cut_middle(key, LONGEST)} as a {kind} tensor: save the weights as plain ones"
            )


def _others(content: Mapping[Any, Any], chosen: str, source: str) -> tuple[Candidate, ...]:
    """The readings of what an average stands beside: it is no average itself."""
    rest = {
        key: value for key, value in content.items() if key != chosen and not (isinstance(key, str) and is_average(key))
    }
    try:
        return tuple(candidates(rest, source)) if rest else ()
    except DasExplainError:
        return ()


def _common_prefix(state: Mapping[str, Tensor]) -> str | None:
    keys = [key for key in state if key != "n_averaged"]
    return next((prefix for prefix in PREFIXES if keys and all(key.startswith(prefix) for key in keys)), None)


def _below(reading: Candidate, prefix: str) -> Candidate:
    """The part of a reading whose keys begin so, without that beginning; the rest is left out."""
    keys = [key for key in reading.state if key != "n_averaged"]
    inside = {key.removeprefix(prefix): reading.state[key] for key in keys if key.startswith(prefix)}
    outside = tuple(key for key in keys if not key.startswith(prefix))
    peeled = (*reading.peeled, f"prefix {prefix}")
    return replace(reading, state=inside, peeled=peeled, left_out=(*reading.left_out, *outside))


def _without_inner(reading: Candidate) -> Candidate:
    state, found = dict(reading.state), []
    for inner in INNER:
        if any(inner in key for key in state):
            state = {key.replace(inner, ""): tensor for key, tensor in state.items()}
            found.append(f"prefix {inner}")
    return replace(reading, state=state, peeled=(*reading.peeled, *found))


def _with_our_names(reading: Candidate) -> Iterator[Candidate]:
    """The same weights under our keys, where they have those of an attention's authors."""
    for attention, kind in ATTENTION.items():
        ours = kind.rename_published(reading.state) if kind.rename_published else reading.state
        if ours.keys() != reading.state.keys():
            yield replace(reading, state=dict(ours), peeled=(*reading.peeled, f"keys of {attention}'s authors"))


def _below_any_prefix(reading: Candidate, expected: Iterable[str]) -> Iterator[Candidate]:
    """The reading below each prefix that most of ``expected`` is found behind, an average first.

    ``alike`` says which other prefixes fit as well: two networks of one kind, a student and its teacher.
    """
    expected = [key for key in expected if not key.endswith(OPTIONAL)]
    if not expected or sum(key in reading.state for key in expected) > len(expected) / 2:
        return
    tell_tale = max(expected, key=lambda key: (key.count("."), len(key)))
    prefixes = {key.removesuffix(tell_tale) for key in reading.state if key.endswith("." + tell_tale)}
    common = {prefix: sum(prefix + key in reading.state for key in expected) for prefix in prefixes}
    most = max(common.values(), default=0)
    if most <= len(expected) / 2:
        return
    best = sorted(
        (prefix for prefix in common if common[prefix] == most), key=lambda each: (not is_average(each), each)
    )
    for prefix in best:
        rest = tuple(other for other in best if other != prefix)
        yield replace(_below(reading, prefix), others=(*reading.others, *rest), alike=rest)


def _below_entry(reading: Candidate, entry: str, source: str, content: Mapping[Any, Any]) -> Candidate:
    prefix = f"{entry.rstrip('.')}."
    if not any(key.startswith(prefix) for key in reading.state):
        raise DasExplainError(f"{source} has no entry {entry!r} with weights; it has {_names(content)}")
    return _below(reading, prefix)


def _kind(content: Any) -> str:
    if isinstance(content, StandIn):
        return f"a Python object ({type(content).__name__.partition(':')[2]}), which is not made,"
    return f"a {type(content).__name__}"


def _names(content: Mapping[Any, Any]) -> str:
    names = [cut_middle(str(key), LONGEST) for key in content]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "none"
