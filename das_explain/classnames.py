"""Which of some classes a name is: matching is loose in one place, here, for models' labels and files' categories."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from das_explain.text import loose, nfc

SYNSET = re.compile(r"(n\d{8})(?:[\s_-].+)?", re.DOTALL)
"""ImageNet's id of a class, alone or before its name (``n02085620-Chihuahua``)."""
BY_ID = "by ImageNet's ids"
TABLE = Path(__file__).parent / "imagenet.txt"


def match_classes(
    names: Sequence[str], labels: Sequence[str] | None, synsets_of: Sequence[str | None] = ()
) -> dict[str, dict[str, int]]:
    """How -> name -> which of the ``labels`` it is, the surest first; exact matches under no words.

    Exactly (in Unicode's NFC), without regard to case, spaces, _ and -, by a synonym (a label's own, after commas, and
    WordNet's), by ImageNet's id. A name that fits several labels is none of them. ``synsets_of``: the ImageNet class that
    each label is, if any, where that is known; ``labels`` may then be ``None``.

    >>> match_classes(["Fire_Hydrant", "n02123045"], ["fire hydrant", "tabby"], [None, "n02123045"])
    {'': {}, 'without regard to case, spaces, _ and -': {'Fire_Hydrant': 0}, 'by synonyms': {}, "by ImageNet's ids": {'n02123045': 1}}
    """
    rules: list[tuple[str, Callable[[str], Iterable[str]], list[set[str]]]] = []
    if labels:
        spelled = [set(map(loose, each)) for each in _words_of(labels, synsets_of)]
        rules += [
            ("", lambda name: [nfc(name)], [{nfc(label)} for label in labels]),
            ("without regard to case, spaces, _ and -", lambda name: [loose(name)], [{loose(each)} for each in labels]),
            ("by synonyms", lambda name: [loose(name), *map(loose, name.split(","))], spelled),
        ]
    if synsets_of:
        ids = [{each} if each else set() for each in synsets_of]
        rules.append((BY_ID, lambda name: [match[1]] if (match := SYNSET.fullmatch(name)) else [], ids))
    found: dict[str, dict[str, int]] = {}
    rest = list(names)
    exact = Counter(map(nfc, labels or ()))
    for how, spellings, table in rules:
        index = _unique(table)
        hits = {name: {index[each] for each in spellings(name) if each in index} for name in rest}
        taken = {name: hit.pop() for name, hit in hits.items() if len(hit) == 1 and not exact[nfc(name)] > 1}
        found[how] = taken
        rest = [name for name in rest if name not in taken]
    return found


def readings(
    names: Sequence[str], labels: Sequence[str], synsets_of: Sequence[str | None] = (), *, first: bool = False
) -> dict[str, list[int]]:
    """Name -> all labels that it may be, by words; ``first``: by each label's own first word and WordNet's only.

    >>> readings(["crane", "panther"], ["crane, bird", "crane, machine"])
    {'crane': [0, 1], 'panther': []}
    """
    places: dict[str, list[int]] = {}
    for index, words in enumerate(_words_of(labels, synsets_of, first=first)):
        for word in dict.fromkeys(map(loose, words)):
            places.setdefault(word, []).append(index)
    return {name: places.get(loose(name), []) for name in names}


def _words_of(labels: Sequence[str], synsets_of: Sequence[str | None], *, first: bool = False) -> list[tuple[str, ...]]:
    """What each label is called: its own words, which stand after commas, and WordNet's; the ``first`` of both."""
    most = 1 if first else None
    words = [synsets().get(each or "", ()) for each in synsets_of] or [()] * len(labels)
    return [(*label.split(",")[:most], *word[:most]) for label, word in zip(labels, words)]


@cache
def synsets() -> dict[str, tuple[str, ...]]:
    """ImageNet-1k's ids in the order of the logits, which is theirs, with WordNet's words for each."""
    rows = (line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines())
    return {synset: tuple(words.split(", ")) for synset, words in rows}


def synset_of(name: str) -> str | None:
    """ImageNet's id of the one class that is called so.

    >>> synset_of("Tabby_cat"), synset_of("crane")
    ('n02123045', None)
    """
    return _by_word().get(loose(name))


@cache
def _by_word() -> dict[str, str]:
    ids = list(synsets())
    return {
        word: ids[index] for word, index in _unique([set(map(loose, words)) for words in synsets().values()]).items()
    }


def _unique(table: Sequence[set[str]]) -> dict[str, int]:
    """Spelling -> place, of spellings that only one place has."""
    times = Counter(each for spellings in table for each in spellings)
    return {each: index for index, spellings in enumerate(table) for each in spellings if times[each] == 1}
