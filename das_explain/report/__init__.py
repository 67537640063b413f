"""A run's folder becomes a page that opens from disk: tables, charts and a gallery, with no server and no network."""

from das_explain.report.build import build_report, build_single_file

__all__ = ["build_report", "build_single_file"]
