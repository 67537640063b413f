"""Which logit each class of a data set is: matching is loose in one place, here, and says how it went."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from das_explain.checkpoint.labels import IMAGENET_CLASSES, imagenet_labels
from das_explain.errors import DasExplainError, UsageError

if TYPE_CHECKING:
    from das_explain.checkpoint.model import LoadedModel

SYNSET = re.compile(r"(n\d{8})(?:[\s_-].+)?", re.DOTALL)
"""ImageNet's id of a class, alone or before its name (``n02085620-Chihuahua``)."""
NUMBER = re.compile(r"[0-9]{1,9}")
SPLITS = frozenset(["train", "training", "val", "valid", "validation", "test", "testing", "eval", "dev", "holdout"])
TABLE = Path(__file__).parent / "imagenet.txt"
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
    that fits several logits (two may be called ``crane``) fits none. For the whole data set, if not one name was found:

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
    imagenet = count == IMAGENET_CLASSES and is_imagenet(model.labels)
    for how, each in _by_name([name for name in names if name not in found], model.labels, imagenet).items():
        found |= each
        if each and how:
            told.append(f"{_classes(len(each))} matched {how}, first {next(iter(each))!r}")
    other: dict[str, int] = {}
    if not found and names:
        found, other, rule = _as_a_whole(names, model.labels, count)
        told += [rule] if rule else []
    if not found and names:
        raise DasExplainError(_nothing_fits(names, model))
    if missing := [name for name in names if name not in found]:
        told.append(f"{_classes(len(missing))} not the model's, first {missing[0]!r}")
    about = f"{model.name}: of the data's {len(names)} classes"
    logits = {name: found[name] for name in names if name in found}
    return LabelMatch(logits, [f"{about}, {each}" if each[0].isdigit() else f"{about}: {each}" for each in told], other)


def is_imagenet(labels: Sequence[str] | None) -> bool:
    """Whether a model of 1000 classes has ImageNet's: without labels, or with ImageNet's words or ids for them."""
    if labels is None or labels == imagenet_labels():
        return True
    alike = sum(
        not {_loose(part) for part in [label, *label.split(",")]}.isdisjoint(map(_loose, (synset, *words)))
        for label, (synset, words) in zip(labels, synsets().items())
    )
    return len(labels) == IMAGENET_CLASSES and alike >= ALIKE * IMAGENET_CLASSES


@cache
def synsets() -> dict[str, tuple[str, ...]]:
    """ImageNet-1k's ids in the order of the logits, which is theirs, with WordNet's words for each."""
    rows = (line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines())
    return {synset: tuple(words.split(", ")) for synset, words in rows}


def _by_name(names: Sequence[str], labels: Sequence[str] | None, imagenet: bool) -> dict[str, dict[str, int]]:
    """How -> name -> logit, the surest first; exact matches under no words."""
    words = list(synsets().values()) if imagenet else [()] * len(labels or ())
    rules: list[tuple[str, Callable[[str], Iterable[str]], list[set[str]]]] = []
    if labels:
        rules += [
            ("", lambda name: [_nfc(name)], [{_nfc(label)} for label in labels]),
            (
                "without regard to case, spaces, _ and -",
                lambda name: [_loose(name)],
                [{_loose(each)} for each in labels],
            ),
        ]
        spelled = [{_loose(part) for part in (*label.split(","), *word)} for label, word in zip(labels, words)]
        rules.append(("by synonyms", lambda name: [_loose(name), *map(_loose, name.split(","))], spelled))
    if imagenet:
        rules.append(
            ("", lambda name: [match[1]] if (match := SYNSET.fullmatch(name)) else [], [{each} for each in synsets()])
        )
    found: dict[str, dict[str, int]] = {}
    rest = list(names)
    exact = Counter(map(_nfc, labels or ()))
    for how, spellings, table in rules:
        index = _unique(table)
        hits = {name: {index[each] for each in spellings(name) if each in index} for name in rest}
        taken = {name: hit.pop() for name, hit in hits.items() if len(hit) == 1 and not exact[_nfc(name)] > 1}
        found[how] = found.get(how, {}) | taken
        rest = [name for name in rest if name not in taken]
    return found


def _unique(table: Sequence[set[str]]) -> dict[str, int]:
    """Spelling -> logit, of spellings that only one logit has."""
    times = Counter(each for spellings in table for each in spellings)
    return {each: index for index, spellings in enumerate(table) for each in spellings if times[each] == 1}


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


def _by_map(names: Sequence[str], model: LoadedModel, label_map: Mapping[str, str]) -> dict[str, int]:
    wanted = {name: label_map[name] for name in names if name in label_map}
    if names and not wanted:
        raise UsageError(
            f"the label map names no class of the data: it has {_some(list(label_map))}, the data {_some(names)}"
        )
    count = _count(model)
    known: dict[str, int] = {}
    for each in _by_name(
        list(wanted.values()), model.labels, count == IMAGENET_CLASSES and is_imagenet(model.labels)
    ).values():
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
        hint = f"{_close(names, model.labels or ())}; --label-map FILE.csv (data,model) says which is which"
    return (
        f"no class of the data is one of model {model.name}: the data has {_some(names)} ({len(names)} classes), "
        f"the model {_of(model)}{hint}"
    )


def _are_splits(names: Sequence[str]) -> bool:
    return all(name.lower() in SPLITS for name in names)


def _of(model: LoadedModel) -> str:
    count = _count(model)
    return f"{_some(model.labels)} ({count} classes)" if model.labels else f"{count} classes without names"


def _count(model: LoadedModel) -> int:
    return int(model.config.get("num_classes") or len(model.labels or ()))


def _close(names: Sequence[str], labels: Sequence[str]) -> str:
    """The first few names that resemble a label: for the end of a message."""
    spelled = {_loose(label): label for label in reversed(labels)}
    pairs = [
        f"{spelled[close[0]]!r} for {name!r}"
        for name in names[:200]
        if (close := get_close_matches(_loose(name), spelled, 1, 0.7))
    ]
    return f"; near matches: {', '.join(pairs[:3])}" if pairs else ""


def _classes(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _loose(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name)).strip().casefold()


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:3]) + (" ..." if len(names) > 3 else "")
