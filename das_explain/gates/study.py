"""``das-explain gate`` as one call: photos and models in; figures, arrays and tables of their gates out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from das_explain.batches.workers import killed_workers_told
from das_explain.data.dataset import Dataset
from das_explain.evidence.tables import write_rows, write_table
from das_explain.explain.explainer import Explainer
from das_explain.figures.heatmaps import KINDS
from das_explain.files import json_line, replace_file
from das_explain.folders import claim_files, inside
from das_explain.gates.effects import EFFECT_COLUMNS, summarize_effects
from das_explain.gates.part import Gates, Part, file_stems
from das_explain.scoring.options import ScoreOptions
from das_explain.segment import Segmenter
from das_explain.signals import Stopped
from das_explain.types import Progress, no_progress

TABLES = ("gates.csv", "attention.csv", "regions.jsonl", "effects.csv")
ATTENTION_COLUMNS = (
    "image", "model", "gate", "channels", "height", "width", "a_mean", "a_min", "a_max", "a_sd_positions",
    "a_sd_channels", "passed_object", "passed_background", "offset_mean", "offset_max", "modulation_mean",
)  # fmt: skip
Spread = Callable[["Sequence[tuple[str, ...]]", Path, Progress, Progress], Iterator[Part]]
"""Looks at the photos elsewhere: called with their ``file_stems``, ``out``, ``progress`` and ``finding``; parts in order."""


def study_gates(
    dataset: Dataset,
    segmenter: Segmenter | None,
    explainer: Explainer,
    scoring: ScoreOptions,
    out: Path,
    *,
    at: Sequence[tuple[float, float]] = (),
    drawn: int | None = None,
    batch: int = 8,
    workers: int | None = None,
    finding: Progress = no_progress,
    progress: Progress = no_progress,
    spread: Spread | None = None,
) -> pd.DataFrame:
    """Writes to ``out``, per image and model, ``IMAGE[-MODEL]-gate.png``, ``.pdf`` and ``.npz``, and for all images
    ``gates.csv`` (``effects.effect_rows``), ``effects.csv`` (``effects.summarize_effects``) and ``attention.csv``
    (``look.describe``, of every image and gate); ``regions.jsonl`` tells how each region R was found.

    The ``.npz`` holds ``frame`` uint8 (H, W, 3), ``mask`` bool (H, W) where one is known, ``points`` (P, 2), and of each
    gate ``GATE/attention`` and ``GATE/passed``, with a deformable kernel also ``GATE/offset`` (K, 2, h, w), (dy, dx) in
    map pixels, ``GATE/modulation`` (K, h, w) and ``GATE/places`` (P, K, 2): where it looks at the points. Points and
    places are (x, y) in pixels of the photo.

    Args:
        at: the points, in pixels of the photo, the same for every photo. Default: one, the pixel deepest inside the
            object where a mask is known, else where the map of the last block is highest.
        drawn: figures and arrays of that many images, from the first on; the tables are of all. Default: of all.
        spread: looks at the photos in place of this process.

    Returns:
        The summary, as in ``effects.csv``.

    Raises:
        UsageError: a model without gates, a point that the network does not see, or a file of such a name in ``out`` that
            is somebody's own.
    """
    gates = Gates(explainer, scoring, at)
    stems = file_stems(dataset.samples, [model.contestant.name for model in gates.models], drawn)
    claim_files(out, [*(f"{stem}.{kind}" for each in stems for stem in each for kind in KINDS), *TABLES])

    def here(stems: Sequence[tuple[str, ...]], out: Path, progress: Progress, finding: Progress) -> Iterator[Part]:
        batches = explainer.batches(
            dataset.source, dataset.samples, segmenter, batch=batch, workers=workers, finding=finding
        )
        done = 0
        with killed_workers_told():
            for loaded in batches:
                yield gates.part(loaded, stems[done : done + len(loaded)], out)
                done += len(loaded)
                progress(done, len(dataset.samples))

    parts: list[Part] = []
    try:
        parts.extend((spread or here)(stems, out, progress, finding))
    except Stopped:  # the figures so far keep their tables
        if parts:
            _write_tables(out, parts)
        raise
    return _write_tables(out, parts)


def _write_tables(out: Path, parts: Sequence[Part]) -> pd.DataFrame:
    """Writes the four tables; the summary."""
    whole = Part.joined(parts)
    summary = summarize_effects(whole.effects)
    write_table(inside(out, "gates.csv"), whole.effects[list(EFFECT_COLUMNS)])
    write_rows(inside(out, "attention.csv"), ATTENTION_COLUMNS, whole.described)
    lines = b"".join(map(json_line, whole.regions))
    replace_file(inside(out, "regions.jsonl"), lambda part: part.write_bytes(lines))
    write_table(inside(out, "effects.csv"), summary)
    return summary
