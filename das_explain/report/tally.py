"""What the rows of a run's tables come to: read part by part, so that memory holds one number per image, model and block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from das_explain.errors import DasExplainError
from das_explain.evidence.run import Run
from das_explain.evidence.tables import read_parts
from das_explain.evidence.values import Key
from das_explain.statuses import SCORED

PART = 4_000  # rows of a table that are in memory at a time
BINS = 40  # of a histogram of sfd


@dataclass
class Mean:
    """A mean that is added to part by part; NaN counts for nothing."""

    total: float = 0.0
    count: int = 0

    def add(self, values: np.ndarray) -> None:
        """Adds float (n,)."""
        self.total += float(np.nansum(values))
        self.count += int(np.isfinite(values).sum())

    @property
    def value(self) -> float:
        """NaN of nothing."""
        return self.total / self.count if self.count else float("nan")


@dataclass
class Tally:
    """What the rows of scores.csv and nulls.csv come to.

    ``sfd``: float32 (images,) in the drawn order for each model and block, NaN where not scored. ``rows`` and ``images``
    count by status (an image once in each status that its rows have). ``right``: model -> (images predicted right,
    images with a label and a prediction). ``shuffled``: int64 (BINS,), how many of the model's shuffled maps score so.
    ``unlabelled`` and ``differing``: images without a label, and those on which the models explain different classes.
    ``label`` int32 (images,): the number of an image's class among ``classes``, -1 without one. ``measured``: mean of a
    measure, where a run compares nothing.
    """

    sfd: dict[Key, np.ndarray] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    right: dict[str, tuple[int, int]] = field(default_factory=dict)
    shuffled: dict[Key, np.ndarray] = field(default_factory=dict)
    unlabelled: int = 0
    differing: int = 0
    classes: list[str] = field(default_factory=list)
    label: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    measured: dict[tuple[str, Key], Mean] = field(default_factory=dict)


def read_tally(run: Run, models: tuple[str, ...], blocks: tuple[str, ...]) -> Tally:
    tally = Tally()
    columns = ["image", "model", "block", "label", "target", "correct", "sfd", "status"]
    sample = run.seen
    if run.sample:
        done = 0
        tally.label = np.full(len(sample), -1, np.int32)
        for part in whole_images(read_parts(run.path("scores.csv"), only=columns, rows=PART)):
            done += _add_scores(run, sample, tally, part, models, blocks, done)
        if done != len(sample):
            raise _misfit(run, f"has rows of {done} of {len(sample)} images")
    if (run.path("nulls.csv")).is_file():
        only = ["model", "block", "null", "measure", "value", "status"]
        for part in read_parts(run.path("nulls.csv"), only=only, rows=PART):
            part = part[(part["null"] == "shuffled") & (part["measure"] == "sfd") & part["status"].isin(SCORED)]
            for (model, block), rows in part.groupby(["model", "block"], observed=True):
                at, counts = Key(str(model), str(block)), histogram(rows["value"].to_numpy())
                tally.shuffled[at] = tally.shuffled.get(at, 0) + counts
    return tally


def whole_images(parts: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    """The same rows, cut anew so that all rows of an image stand in one part."""
    rest: pd.DataFrame | None = None
    for part in parts:
        if part.empty:
            continue
        part = part if rest is None else pd.concat([rest, part], ignore_index=True)
        names = part["image"].to_numpy(dtype=object)
        others = np.flatnonzero(names != names[-1])
        start = int(others[-1]) + 1 if len(others) else 0
        rest = part.iloc[start:].reset_index(drop=True)
        if start:
            yield part.iloc[:start]
    if rest is not None and len(rest):
        yield rest


def _add_scores(
    run: Run,
    sample: list[str],
    tally: Tally,
    part: pd.DataFrame,
    models: tuple[str, ...],
    blocks: tuple[str, ...],
    done: int,
) -> int:
    """Counts the rows of some images, the next ones after ``done``; returns how many images they are."""
    names = part["image"].to_numpy(dtype=object)
    new = np.concatenate([[True], names[1:] != names[:-1]])
    count = int(new.sum())
    ranks = done - 1 + np.cumsum(new)
    if not np.array_equal(names[new], np.array(sample[done : done + count], dtype=object)):
        raise _misfit(run, "names other images than run.json, or in another order")
    model = pd.Categorical(part["model"], categories=models).codes
    block = pd.Categorical(part["block"], categories=blocks).codes
    if (model < 0).any() or (block < 0).any():
        raise _misfit(run, "names a model or a block that run.json does not")
    status = part["status"].astype(str).to_numpy(dtype=object)
    value = np.where(np.isin(status, SCORED), part["sfd"].to_numpy(dtype=np.float64), np.nan)
    for m, name in enumerate(models):
        for b, layer in enumerate(blocks):
            mine = (model == m) & (block == b)
            if mine.any():
                at = Key(name, layer)
                if at not in tally.sfd:
                    tally.sfd[at] = np.full(len(sample), np.nan, np.float32)
                tally.sfd[at][ranks[mine]] = value[mine]
        first = pd.Series(ranks[model == m]).drop_duplicates().index  # a model's first row of each image
        judged = part["correct"].to_numpy(dtype=np.float64)[model == m][first]
        right, known = tally.right.get(name, (0, 0))
        tally.right[name] = right + int(np.nansum(judged)), known + int(np.isfinite(judged).sum())
    words = pd.DataFrame({"status": status, "rank": ranks})
    tally.rows.update(Counter(status))
    for word, images in words.groupby("status")["rank"]:
        tally.images[str(word)] += images.nunique()
    labels, targets = part["label"].to_numpy(dtype=object), part["target"].to_numpy(dtype=object)
    numbers = {name: number for number, name in enumerate(tally.classes)}
    for rank, label in zip(ranks[new], labels[new]):
        if label:
            tally.label[rank] = numbers.setdefault(label, len(numbers))
    tally.classes = list(numbers)
    tally.unlabelled += int((new & (labels == "") & (targets != "")).sum())
    classes = pd.DataFrame({"rank": ranks, "target": targets})[targets != ""]
    tally.differing += int((classes.groupby("rank")["target"].nunique() > 1).sum())
    return count


def add_measures(run: Run, tally: Tally) -> None:
    """Adds all rows of measures.csv to their means."""
    if not (run.path("measures.csv")).is_file():
        return
    only = ["measure", "model", "block", "value", "status"]
    for part in read_parts(run.path("measures.csv"), only=only, rows=PART):
        scored = part[part["status"].isin(SCORED)]
        for (measure, model, block), rows in scored.groupby(["measure", "model", "block"], observed=True, sort=False):
            at = str(measure), Key(str(model), str(block))
            tally.measured.setdefault(at, Mean()).add(rows["value"].to_numpy())


def _misfit(run: Run, what: str) -> DasExplainError:
    return DasExplainError(f"{run.path('scores.csv')} {what}: score the run again")


def histogram(values: np.ndarray) -> np.ndarray:
    """sfd (n,) in [0, 1] -> int64 (BINS,), how many lie in each bin; 1 belongs to the last one, NaN to none."""
    values = values[np.isfinite(values)]
    return np.histogram(np.clip(values, 0, 1), bins=BINS, range=(0, 1))[0]
