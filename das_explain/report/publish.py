"""What a finished run shows to people: its figures, then the report that links to them."""

from __future__ import annotations

from pathlib import Path

from das_explain import figures
from das_explain.evidence.run import Run
from das_explain.evidence.tables import read_table
from das_explain.figures.heatmaps import unique_stem
from das_explain.report.build import build_report, build_single_file
from das_explain.statuses import SCORED

DRAWN = ("image", "model", "block", "sfd", "status")  # of scores.csv


def publish(run: Run, *, single_file: bool = False) -> Path:
    """Draws a scored run's figures and writes its report; the path of its page: report/index.html, or report.html.

    Figures, as PNG and PDF: ``distribution``, ``lift`` and, for every two models, ``paired-A-B``.
    """
    scores = read_table(run.folder / "scores.csv", only=DRAWN)
    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    if scores["status"].isin(SCORED).any():
        figures.save(figures.distribution_figure(scores), folder / "distribution")
        figures.save(figures.lift_figure(run.table("lift")), folder / "lift")
    taken: set[str] = set()
    for a, b in run.table("comparison")[["model_a", "model_b"]].drop_duplicates().to_numpy():
        figures.save(figures.scatter_figure(scores, a, b), folder / unique_stem(f"paired-{a}-{b}.figure", taken))
    return (build_single_file if single_file else build_report)(run.folder)
