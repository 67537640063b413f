"""The main job in one call, as ``das-explain sfd`` does it without figures and report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from das_explain.data.dataset import Dataset
from das_explain.data.draw import draw_sample
from das_explain.engines.cluster import Cluster
from das_explain.engines.collect import collect
from das_explain.evidence.run import Run
from das_explain.explain.contestants import ExplainOptions
from das_explain.explain.plan import Plan
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from das_explain.segment import Segmenter
from das_explain.types import Progress, no_progress


def score_dataset(
    dataset: Dataset,
    segmenter: Segmenter | None,
    *,
    models: Sequence[str],
    out: Path,
    sample: int | None = None,
    seed: int = 0,
    options: ExplainOptions = ExplainOptions(),  # noqa: B008 - frozen
    scoring: ScoreOptions = ScoreOptions(),  # noqa: B008 - frozen
    engine: str = "local",
    cluster: Cluster | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
    finding: Progress = no_progress,
    asking: Progress = no_progress,
    note: Callable[[str], None] = lambda _: None,
    **how: Any,
) -> Run:
    """Explains and scores a sample of a data set; ``how`` are further fields of the plan."""
    scoring = scoring.resolved()
    plan = Plan(
        models=tuple(models),
        samples=draw_sample(dataset, sample, seed),
        source=dataset.source,
        segmenter=segmenter,
        labels=dataset.labels,
        options=options,
        **{"batch": 4, "workers": 0, "nulls": scoring.nulls, **how},
    )
    told = {"progress": progress, "finding": finding, "asking": asking, "note": note, "cluster": cluster}
    run = collect(plan, dataset, out, seed=seed, engine=engine, overwrite=overwrite, **told)
    score_run(run, scoring)
    return run


PIXEL = {
    **dict.fromkeys(
        ("iou", "relevance_rank_accuracy", "auroc", "average_precision"), 0.02
    ),  # of the smallest object here
    **dict.fromkeys(("insertion", "deletion"), 1e-3),  # of what a network answers when one more is hidden
}
"""What is counted in pixels, and how much one is: where two pixels, or one and the threshold, differ by no more than
rounding, one may fall on the other side."""
FEW = {"insertion": 0.01, "deletion": 0.01}
"""Of how many of a measure's numbers that may be so."""


def assert_same_numbers(mine: pd.DataFrame, expected: pd.DataFrame, close: float = 1e-5) -> None:
    """Two tables of one run, made in batches or on devices of other kinds."""
    measures = expected.get("measure", pd.Series("sfd", expected.index)).astype(str)
    for measure in measures.unique():
        rows, tolerance = measures == measure, PIXEL.get(measure, close)
        pd.testing.assert_frame_equal(mine[rows], expected[rows], check_exact=False, rtol=close, atol=tolerance)
        numbers = expected[rows].select_dtypes("number")
        moved = (mine.loc[rows, numbers.columns] - numbers).abs() > close * (1 + numbers.abs())
        assert moved.to_numpy().mean() <= FEW.get(measure, 1), f"many numbers of {measure} moved"
