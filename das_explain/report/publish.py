"""What a finished run shows to people: its figures, then the report that links to them."""

from __future__ import annotations

from pathlib import Path

from das_explain.evidence.run import Run
from das_explain.evidence.staging import new_figures
from das_explain.evidence.tables import read_table
from das_explain.figures.kinds import save_figures
from das_explain.report.build import build_report, build_single_file
from das_explain.statuses import SCORED


def publish(run: Run, *, single_file: bool = False) -> Path:
    """Draws a scored run's figures and writes its report; the path of its page: report/index.html, or report.html.

    Figures, as PNG and PDF: ``distribution`` and ``nulls``, for every two models ``paired`` and, where the run has
    readings, the specification curve ``readings``.
    """
    kinds = []
    if read_table(run.path("scores.csv"), only=("status",))["status"].isin(SCORED).any():
        kinds += ["distribution", *(["nulls"] * bool(len(run.table("lift"))))]
        if len(run.table("comparison")):
            kinds += ["paired", *(["readings"] * run.path("readings.csv").exists())]
    with new_figures(run) as folder:
        save_figures(run, kinds, folder)
    return (build_single_file if single_file else build_report)(run.folder)
