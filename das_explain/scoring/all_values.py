"""Every value of a run while it is scored, on the disk, and what statistics take of it: a measure at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd

from das_explain.evidence.values import Key
from das_explain.scoring.growing import Growing
from das_explain.scoring.scorer import Scored
from das_explain.stats.pairing import Paired
from das_explain.stats.tables import differences_of_paired


class AllValues:
    """One number per image, key, measure and null, NaN where it is not scored: what statistics are made of."""

    def __init__(self) -> None:
        self._places: dict[tuple[Key, str, str], int] = {}
        self._values = Growing()

    def add(self, scored: Scored) -> None:
        """The next images' values."""
        self._places = {at: place for place, at in enumerate(scored.values)}
        self._values.add(np.stack(list(scored.values.values())))

    def close(self) -> None:
        """Gives the disk back."""
        self._values.close()

    def scored(self) -> dict[str, list[tuple[str, str]]]:
        """Measure -> each block and model that it has a value of; all in order of first appearance."""
        found: dict[str, list[tuple[str, str]]] = {}
        for (key, measure, null), place in self._places.items():
            if not null and not np.isnan(self._values.read(place)).all():
                found.setdefault(measure, []).append((key.block, key.model))
        return found

    def of(self, measure: str, key: tuple[str, str]) -> np.ndarray:
        """A measure's values at a block and model, (images,)."""
        block, model = key
        return self._values.read(self._places[Key(model, block), measure, ""])

    def differences_from_nulls(self, measure: str) -> Iterator[tuple]:
        """As of the tables, which would take several times the room."""
        own, blind = self.paired(measure), self.paired(measure, nulls=True)
        models, blocks = ({key[place]: None for key in own.keys} for place in (1, 0))
        nulls = {key[2]: None for key in blind.keys}
        every = product(models, blocks, nulls)
        which = [(m, b, null) for m, b, null in every if (b, m) in own.keys and (b, m, null) in blind.keys]
        return differences_of_paired(measure, own, blind, which)

    def paired(self, measure: str, *, nulls: bool = False) -> Paired:
        """A measure's values by block and model, or those of its nulls, by null as well; what has no score has no key."""
        mine = [(at, place) for at, place in self._places.items() if at[1] == measure and bool(at[2]) == nulls]
        found: dict[tuple[str, ...], int] = {}
        values = np.empty((len(mine), self._values.count))
        for ((model, block), _, null), place in mine:
            values[len(found)] = self._values.read(place)
            if not np.isnan(values[len(found)]).all():
                found[(block, model, null) if nulls else (block, model)] = len(found)
        return Paired(found, pd.RangeIndex(self._values.count), values[: len(found)])

    def frame(self, measures: Sequence[str], *, nulls: bool) -> pd.DataFrame:
        """The scored rows of measures, long: image (a number), model, block, null, measure, value, status."""
        ats = [at for at in self._places if at[1] in measures and bool(at[2]) == nulls]
        values = [self._values.read(self._places[at]) for at in ats]
        there = [np.flatnonzero(~np.isnan(each)).astype(np.int32) for each in values]
        rows = np.repeat(np.arange(len(ats), dtype=np.int32), [len(each) for each in there])
        none = np.empty(0, np.int32)
        texts = {
            "model": [at[0].model for at in ats],
            "block": [at[0].block for at in ats],
            "null": [at[2] for at in ats],
            "measure": [at[1] for at in ats],
        }
        image = pd.Categorical.from_codes(np.concatenate([none, *there]), _names(self._values.count))
        table = pd.DataFrame({"image": image})
        table["value"] = np.concatenate([none, *(each[at] for each, at in zip(values, there))]).astype(float)
        for name, each in texts.items():
            words = list(dict.fromkeys(each))
            codes = np.array([words.index(word) for word in each], np.int16)
            table[name] = pd.Categorical.from_codes(codes[rows], words)
        table["status"] = pd.Categorical.from_codes(np.zeros(len(table), np.int8), ["ok"])
        return table


def _names(count: int) -> list[str]:
    """Names that sort as the images are ordered."""
    return [f"{number:09d}" for number in range(count)]
