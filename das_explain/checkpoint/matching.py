"""Which logit each class of a data set is, by name (``classnames``) or as a whole, and how that went."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING

from das_explain.checkpoint.labels import IMAGENET_CLASSES, imagenet_labels
from das_explain.classnames import match_classes, readings, synsets
from das_explain.errors import DasExplainError, UsageError
from das_explain.text import loose

if TYPE_CHECKING:
    from das_explain.checkpoint.model import LoadedModel

NUMBER = re.compile(r"[0-9]{1,9}")
SPLITS = frozenset(["train", "training", "val", "valid", "validation", "test", "testing", "eval", "dev", "holdout"])
BY_MAP = "--label-map FILE.csv (data,model), label_map in Python and in a study, says which is which"
ALIKE = 0.9  # of a model's 1000 labels, how many have to be ImageNet's, each at its place


class LabelMatch(dict[str, int]):
    """Class of the data -> logit. ``assumptions``: sentences on how they were matched, where that was a guess.

    ``other``: the other reading, where the classes' names allow two.
    """

    def __init__(
        self,
        logits: Mapping[str, int] = MappingProxyType({}),
        assumptions: Sequence[str] = (),
        other: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        super().__init__(logits)
        self.assumptions = list(assumptions)
        self.other = dict(other)


def match_labels(
    data_labels: Sequence[str], model: LoadedModel, label_map: Mapping[str, str] | None = None
) -> LabelMatch:
    """Which logit each class of a data set is.

    First ``label_map``, class of the data -> class of the model, by its name or number (``read_label_map``). What it does
    not name, name by name, the first of these that gives one logit and no second: the model's own label exactly (in
    Unicode's NFC); the label that is equal when upper and lower case, spaces, underscores and hyphens are not told apart;
    a synonym, of those that a label lists after commas (``tench, Tinca tinca``) and, of ImageNet's classes, of WordNet's;
    ImageNet's id of the class (``n01440764``, ``n02085620-Chihuahua``) for a model with ImageNet's 1000 classes. A name
    that fits several logits (two may be called ``crane``) fits none; one that is matched though another class is first of
    all called so, too, is told, and ``other`` has that one. For the whole data set, if not one name was found:

    1. a model without labels and with as many classes as the data: sorted order, as torchvision's ``ImageFolder`` has it,
       in which ``10`` comes before ``2``; where the names are numbers and that order is another, ``other`` is theirs;
    2. whole numbers, each a valid index, are logit indices.

    Returns:
        name -> index for the names that were found, in the order of ``data_labels``; others are left out. Its
        ``assumptions`` say which of these rules was used, where it was a guess, and who was left out.

    Raises:
        UsageError: ``label_map`` names no class of the data, or one that the model does not have.
        DasExplainError: not one name was found; the message lists close ones.
    """
    names = list(dict.fromkeys(data_labels))
    count = _count(model)
    found = _by_map(names, model, label_map) if label_map else {}
    told: list[str] = []
    rest = [name for name in names if name not in found]
    for how, each in match_classes(rest, model.labels, _synsets_of(model)).items():
        found |= each
        if each and how:
            told.append(f"{_classes(len(each))} matched {how}, first {next(iter(each))!r}")
    other, twice = _read_twice(found, rest, model)
    told += twice
    if not found and names:
        found, other, rule = _as_a_whole(names, model.labels, count)
        told += [rule] if rule else []
    if not found and names:
        raise DasExplainError(_nothing_fits(names, model))
    told += _not_found([name for name in names if name not in found], model)
    about = f"{model.name}: of the data's {len(names)} classes"
    logits = {name: found[name] for name in names if name in found}
    return LabelMatch(logits, [f"{about}, {each}" if each[0].isdigit() else f"{about}: {each}" for each in told], other)


def is_imagenet(labels: Sequence[str] | None) -> bool:
    """Whether a model of 1000 classes has ImageNet's: without labels, or with ImageNet's words or ids for them."""
    if labels is None or labels == imagenet_labels():
        return True
    alike = sum(
        not {loose(part) for part in [label, *label.split(",")]}.isdisjoint(map(loose, (synset, *words)))
        for label, (synset, words) in zip(labels, synsets().items())
    )
    return len(labels) == IMAGENET_CLASSES and alike >= ALIKE * IMAGENET_CLASSES


def _as_a_whole(
    names: Sequence[str], labels: Sequence[str] | None, count: int
) -> tuple[dict[str, int], dict[str, int], str | None]:
    """The logits by a rule for all names, the other reading if there is one, and what is assumed."""
    numbers = {name: int(name) for name in names if NUMBER.fullmatch(name) and int(name) < count}
    numbers = numbers if len(numbers) == len(names) else {}
    ordered = {name: index for index, name in enumerate(sorted(names))} if len(names) == count else {}
    if labels is None and ordered and not _are_splits(names):
        if not numbers or len(set(numbers.values())) < len(names):
            return (
                ordered,
                {},
                "the model's classes have no names; matched in sorted order, as torchvision's ImageFolder would",
            )
        if numbers != ordered:
            place = min((name for name in names if numbers[name] != ordered[name]), key=ordered.__getitem__)
            return (
                ordered,
                numbers,
                f"the model's classes have no names and the data's are numbers; matched in sorted order, as torchvision's "
                f"ImageFolder would, so that {place!r} is class {ordered[place]}; if it is class {numbers[place]}, say so: "
                "--label-map FILE.csv (data,model)",
            )
    if numbers:
        told = "the names are numbers; taken for the numbers of the model's classes"
        if len(names) != count:
            return numbers, {}, f"{told}, of which there are {count}"
        if ordered and numbers != ordered:
            return numbers, ordered, f"{told}, and not for places in their sorted order"
        return numbers, {}, told
    return {}, {}, None


def _read_twice(found: Mapping[str, int], names: Sequence[str], model: LoadedModel) -> tuple[dict[str, int], list[str]]:
    """The other reading of the classes that were ``found`` if one of ``names`` is also what another class is first of all
    called (the bird and the machine ``crane``), and what is said of it.
    """
    if not model.labels:
        return {}, []
    taken = set(found.values())
    called = readings([name for name in names if name in found], model.labels, _synsets_of(model), first=True)
    other = {
        name: free[0] for name, places in called.items() if (free := [each for each in places if each not in taken])
    }
    if not other:
        return {}, []
    name = next(iter(other))
    return dict(found) | other, [
        f"{len(other)} can be read in two ways, first {name!r}: {_place(model, found[name])}, as taken here, or "
        f"{_place(model, other[name])}; {BY_MAP}"
    ]


def _not_found(names: Sequence[str], model: LoadedModel) -> list[str]:
    """What is said of classes that are no logit: they fit several, or none."""
    told = []
    places = readings(names, model.labels, _synsets_of(model)) if model.labels else {}
    several = [name for name in names if len(places.get(name, ())) > 1]
    if several:
        which = " or ".join(_place(model, each) for each in places[several[0]])
        told.append(f"{_classes(len(several))} none of the model's for sure, first {several[0]!r}: {which}; {BY_MAP}")
    if missing := [name for name in names if name not in several]:
        near = f"{_close(missing, model.labels or ())}; {BY_MAP}"
        told.append(f"{_classes(len(missing))} not the model's, first {missing[0]!r}{near}")
    return told


def _place(model: LoadedModel, index: int) -> str:
    return f"{model.labels[index]!r} ({index})" if model.labels else str(index)


def _by_map(names: Sequence[str], model: LoadedModel, label_map: Mapping[str, str]) -> dict[str, int]:
    wanted = {name: label_map[name] for name in names if name in label_map}
    if names and not wanted:
        raise UsageError(
            f"the label map names no class of the data: it has {_some(list(label_map))}, the data {_some(names)}"
        )
    count = _count(model)
    known: dict[str, int] = {}
    for each in match_classes(list(wanted.values()), model.labels, _synsets_of(model)).values():
        known |= each
    found = {}
    for name, label in wanted.items():
        number = int(label) if NUMBER.fullmatch(label) else count
        if label not in known and number >= count:
            raise UsageError(
                f"the label map gives {name!r} the class {label!r}, which model {model.name} does not have"
                f"{_close([label], model.labels or ()) or '; its classes are ' + _of(model)}"
            )
        found[name] = known.get(label, number)
    return found


def _nothing_fits(names: Sequence[str], model: LoadedModel) -> str:
    if _are_splits(names):
        hint = f"; these are parts of a data set, not classes: give one of its folders, as in DATA/{names[0]}"
    else:
        hint = f"{_close(names, model.labels or ())}; {BY_MAP}"
    return (
        f"no class of the data is one of model {model.name}: the data has {_some(names)} ({len(names)} classes), "
        f"the model {_of(model)}{hint}"
    )


def _are_splits(names: Sequence[str]) -> bool:
    return all(name.lower() in SPLITS for name in names)


def _of(model: LoadedModel) -> str:
    count = _count(model)
    return f"{_some(model.labels)} ({count} classes)" if model.labels else f"{count} classes without names"


def _synsets_of(model: LoadedModel) -> list[str]:
    """ImageNet's ids of the model's classes, if they are ImageNet's."""
    return list(synsets()) if _count(model) == IMAGENET_CLASSES and is_imagenet(model.labels) else []


def _count(model: LoadedModel) -> int:
    return int(model.config.get("num_classes") or len(model.labels or ()))


def _close(names: Sequence[str], labels: Sequence[str]) -> str:
    """The first three names that resemble a label: for the end of a message."""
    spelled = {loose(label): label for label in reversed(labels)}
    pairs = (
        f"{spelled[close[0]]!r} for {name!r}"
        for name in names[:200]
        if (close := get_close_matches(loose(name), spelled, 1, 0.7))
    )
    found = list(islice(pairs, 3))
    return f"; near matches: {', '.join(found)}" if found else ""


def _classes(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:3]) + (" ..." if len(names) > 3 else "")
