"""What a finished run shows to people: its figures, then the report that links to them."""

from __future__ import annotations

from pathlib import Path

from das_explain.evidence.run import Run
from das_explain.figures import plots
from das_explain.report.build import build_report
from das_explain.statuses import SCORED


def publish(run: Run) -> Path:
    """Draws a scored run's figures and writes its report; the path of the report's index.html."""
    scores = run.table("scores")
    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    if scores["status"].isin(SCORED).any():
        plots.save(plots.distribution_figure(scores), folder / "distribution")
        plots.save(plots.lift_figure(run.table("lift")), folder / "lift")
    for number, (a, b) in enumerate(run.table("comparison")[["model_a", "model_b"]].drop_duplicates().to_numpy()):
        plots.save(plots.scatter_figure(scores, a, b), folder / f"paired-{number + 1}")
    return build_report(run.folder)
