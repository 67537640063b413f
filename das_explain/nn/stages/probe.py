"""One look at a network at work: what it answers, and what each of its modules makes of two photos."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from das_explain.errors import DasExplainError
from das_explain.nn.answers import refusal
from das_explain.nn.running import as_found, channels_of, check_logits

SCRIPTED = "TorchScript, which cannot be watched at work; give the Python network that it was made from"


@dataclass(frozen=True)
class Call:
    """A module's one call: the shapes of its first input and of its output, and when it began and finished.

    ``depends``: its output differs between the two photos, or, where no answer does, may by what it is made of.
    ``alone``: it gives one map, and perhaps what is none. ``begins``: the modules around it that were given the very same
    input.
    """

    name: str
    module: nn.Module
    taken: tuple[int, ...]
    given: tuple[int, ...]
    began: int
    finished: int
    depends: bool
    alone: bool
    begins: frozenset[str]


@dataclass(frozen=True)
class Probe:
    """``num_classes``; the modules that ran once, by name, in order of finishing; how many photos were shown at once."""

    num_classes: int
    calls: dict[str, Call]
    photos: int


def probe_images(network: nn.Module, size: tuple[int, int], count: int = 2) -> Tensor:
    """``count`` photos of noise for ``network``, float (count, C, H, W), the same ones each time."""
    like = next(network.parameters(), torch.empty(0))
    noise = torch.randn(count, channels_of(network), *size, generator=torch.Generator().manual_seed(0))
    return noise.to(like.device, like.dtype)


def probe(network: nn.Module, size: tuple[int, int]) -> Probe:
    """Shows ``network`` two photos of noise of ``size`` (height, width), in eval mode, and leaves it as it was.

    One, where it takes no two.

    Raises:
        DasExplainError: the network refuses the image, or does not return logits (N, classes).
    """
    images = probe_images(network, size)
    try:
        try:
            found, answers_differ = _watched(network, images)
            return found if answers_differ else _traced(network, images) or found
        except DasExplainError:
            raise
        except Exception:
            return _watched(network, images[:1])[0]
    except DasExplainError:
        raise
    except Exception as error:  # somebody else's network: whatever it raises is the answer
        raise DasExplainError(refusal(network, size, error)) from error


def _traced(network: nn.Module, images: Tensor) -> Probe | None:
    """The same of a network in which photos fade away before its end, as in many that are untrained: autograd tells what
    depends on them. ``None`` where it cannot."""
    try:
        return _watched(network, images.clone().requires_grad_().clone())[0]
    except Exception:  # somebody else's network: it need not bear gradients
        return None


def _watched(network: nn.Module, images: Tensor) -> tuple[Probe, bool]:
    """What was seen, and whether the answers differ between the photos; with gradients where ``images`` ask for them."""
    calls: dict[str, Call] = {}
    runs: dict[str, int] = {}
    active: list[tuple[str, Tensor | None, int]] = []
    clock = iter(range(1 << 62))

    def begin(name: str):
        def note(module: nn.Module, args: tuple, kwargs: dict) -> None:
            active.append((name, first_tensor((args, kwargs)), next(clock)))

        return note

    def finish(name: str):
        def note(module: nn.Module, args: tuple, kwargs: dict, output: object) -> None:
            while active and active[-1][0] != name:  # left by an exception that the network caught
                active.pop()
            _, taken, began = active.pop()
            runs[name] = runs.get(name, 0) + 1
            given = first_tensor(output)
            if given is None or taken is None:
                return
            around = frozenset(outer for outer, its, _ in active if its is taken)
            depends = len(given) == 2 and (given.requires_grad or _differ(given))
            alone = not isinstance(output, Mapping) and not _several_maps(output)
            calls[name] = Call(
                name, module, tuple(taken.shape), tuple(given.shape), began, next(clock), depends, alone, around
            )

        return note

    handles = []
    for name, module in network.named_modules():
        if name and not isinstance(module, torch.jit.ScriptModule):  # takes no hook
            handles.append(module.register_forward_pre_hook(begin(name), with_kwargs=True))
            handles.append(module.register_forward_hook(finish(name), with_kwargs=True))
    try:
        with as_found(network), torch.set_grad_enabled(images.requires_grad):
            logits = check_logits(network(images), len(images))
    finally:
        for handle in handles:
            handle.remove()
    once = {name: call for name, call in calls.items() if runs[name] == 1}
    return Probe(logits.shape[1], once, len(images)), _differ(logits)


def _differ(outputs: Tensor) -> bool:
    """Whether those of the two photos differ, or there is but one; values are needed to tell."""
    return len(outputs) != 2 or outputs.is_meta or not torch.equal(outputs[0], outputs[1])


def first_tensor(value: object) -> Tensor | None:
    """The value itself, or the first tensor in a tuple, a list or a mapping, at any depth."""
    if isinstance(value, Tensor):
        return value
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else ()
    return next((found for each in inside if (found := first_tensor(each)) is not None), None)


def put_first(value: Any, tensor: Tensor) -> Any:
    """The value with ``tensor`` in the place of its ``first_tensor``; the containers around it are made anew."""
    if isinstance(value, Tensor):
        return tensor
    if isinstance(value, Mapping):
        key = next(key for key, each in value.items() if first_tensor(each) is not None)
        changed = copy.copy(value)
        changed[key] = put_first(value[key], tensor)
        return changed
    place = next(place for place, each in enumerate(value) if first_tensor(each) is not None)
    rebuilt = (*value[:place], put_first(value[place], tensor), *value[place + 1 :])
    return type(value)(*rebuilt) if hasattr(value, "_fields") else type(value)(rebuilt)


def _several_maps(output: object) -> bool:
    """Whether a module gives a list of maps: branches of several resolutions, of which none stands for all."""
    if not isinstance(output, (tuple, list)):
        return False
    return sum(isinstance(each, Tensor) and each.dim() >= 3 and min(each.shape[-2:]) > 1 for each in output) > 1
