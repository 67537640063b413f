"""What the statistics need of each shard, read one after another or by several processes, in the drawn order either way.

Scoring is one core's work per map; beside a graphics card it would take longer than the networks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from das_explain.batches.pool import process_pool
from das_explain.batches.workers import available_cpus
from das_explain.errors import DasExplainError
from das_explain.evidence.run import Run
from das_explain.evidence.values import Evidence, Key
from das_explain.measures.iou import IouByThreshold
from das_explain.scoring.best_iou import iou_curves
from das_explain.scoring.reading_table import read_all_ways
from das_explain.scoring.regions import score_alternatives
from das_explain.scoring.scorer import Scored, Scorer

EACH = 512  # images for which a process is worth its start
MOST = 8  # processes: each takes 0.4 GB


class Part(NamedTuple):
    """The evidence of a shard, its values, and what tables of the whole run add up: sfd in all readings (none unless asked
    for), curves of IoU, sfd on other masks."""

    evidence: Evidence
    scored: Scored
    readings: dict[Key, np.ndarray]
    curves: dict[Key, IouByThreshold]
    alternatives: list[pd.DataFrame]


def read_part(run: Run, scorer: Scorer, place: int, number: int) -> Part:
    """That of shard ``number``, which stands at ``place`` among those that are there."""
    (evidence,) = run.evidence(numbers=[number])
    models, options = scorer.models, scorer.options
    scored = scorer.score(evidence, scorer.whole.first(place) if scorer.whole else 0)
    return Part(
        evidence,
        scored,
        read_all_ways(models, options, evidence, scored) if options.readings else {},
        iou_curves(models, options, evidence, scored),
        score_alternatives(options, evidence, scored),
    )


def default_processes() -> int:
    """As many as torch would have threads, at most ``MOST``."""
    return min(MOST, torch.get_num_threads(), available_cpus())


def read_parts(run: Run, scorer: Scorer, processes: int = 1) -> Generator[Part, None, None]:
    """The parts of all evidence that is there, in order; by so many processes, if there is enough for each.

    Raises DasExplainError for a shard that is damaged, or of other images than the run's; and if a process is killed.
    """
    processes = min(processes, len(run.seen) // EACH)
    numbers = enumerate(run.shards.there())
    if processes > 1:
        yield from _side_by_side(run, scorer, numbers, processes)
    else:
        for place, number in numbers:
            yield read_part(run, scorer, place, number)


def _side_by_side(
    run: Run, scorer: Scorer, numbers: Iterable[tuple[int, int]], processes: int
) -> Generator[Part, None, None]:
    ahead: deque[Future[Part]] = deque()
    try:
        with process_pool(processes, 1, _prepare, run.folder, scorer) as pool:
            for place, number in numbers:
                ahead.append(pool.submit(_of, place, number))
                if len(ahead) > 2 * processes:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
    except BrokenProcessPool:
        raise DasExplainError(
            "a process that scored evidence was killed, probably for lack of memory: das-explain score goes on from the "
            "evidence; with OMP_NUM_THREADS=1 it takes one process"
        ) from None


_here: dict[str, Any] = {}  # of a process: the run and its scorer


def _prepare(folder: Path, scorer: Scorer) -> None:
    _here.update(run=Run.open(folder), scorer=scorer)


def _of(place: int, number: int) -> Part:
    return read_part(_here["run"], _here["scorer"], place, number)
