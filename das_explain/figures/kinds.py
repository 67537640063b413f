"""The figures of a run, each from its tables or its evidence: what ``figure``, ``sfd`` and ``report`` draw."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from das_explain.errors import UsageError
from das_explain.evidence.run import Run
from das_explain.evidence.tables import read_table
from das_explain.figures.distribution import distribution_figure
from das_explain.figures.drawing import colormap, save
from das_explain.figures.examples import draw_grid
from das_explain.figures.heatmaps import unique_stem
from das_explain.figures.lift import lift_figure
from das_explain.figures.paired import scatter_figure
from das_explain.figures.readings import readings_figure
from das_explain.figures.strata import strata_figure
from das_explain.measures import MEASURES
from das_explain.scoring.options import ScoreOptions
from das_explain.signals import stop_if_asked

COLUMNS = ("image", "model", "block", "status")  # of scores.csv, beside sfd, and of measures.csv


@dataclass(frozen=True)
class FigureOptions:
    """``width`` in inches, ``None``: as many columns of a paper as it takes; ``measure``: what is drawn, of ``distribution``,
    ``paired`` and ``nulls``; ``images``, ``blocks`` and ``colormap`` are those of ``grid``: the photos' names or how
    many, the blocks (none: all), and the maps' colours."""

    width: float | None = None
    measure: str = "sfd"
    images: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    colormap: str = "turbo"


class Drawn(NamedTuple):
    """A figure and the name of its file, without directory and suffix, which may hold what a file name must not."""

    name: str
    figure: Figure


def draw(run: Run, kind: str, options: FigureOptions = FigureOptions()) -> Iterator[Drawn]:
    """The figures of one of ``KINDS``, one after another: one for every two models, or one for all.

    Raises:
        UsageError: a kind, measure, colour map, image or block that does not exist; a width that is too small.
        DasExplainError: the run was not scored, or not with what the figure shows.
    """
    if kind not in KINDS:
        raise UsageError(f"--kind {kind!r} is unknown; choose among {', '.join(KINDS)}")
    colormap(options.colormap)
    if options.width is not None and not 2 <= options.width <= 30:
        raise UsageError(
            f"--width is in inches, from 2 to 30, not {options.width:g}: a paper's column has 3.5, its page 7.16"
        )
    if options.measure not in MEASURES:
        raise UsageError(f"--measure {options.measure!r} is unknown; choose among {', '.join(MEASURES)}")
    if options.measure != "sfd" and kind not in OF_ANY_MEASURE:
        raise UsageError(f"--kind {kind} is of sfd only; --measure goes with {', '.join(OF_ANY_MEASURE)}")
    yield from KINDS[kind](run, options)


def save_figures(
    run: Run,
    kinds: Sequence[str],
    folder: Path,
    options: FigureOptions = FigureOptions(),
    formats: Sequence[str] = ("png", "pdf"),
) -> list[Path]:
    """Draws the figures of some kinds into a folder, as `draw` and `drawing.save` do; the paths of the files."""
    taken: set[str] = set()
    paths: list[Path] = []
    for kind in kinds:
        for name, figure in draw(run, kind, options):
            # The suffix keeps what follows the last dot of a model's name.
            paths += save(figure, folder / unique_stem(f"{name}.figure", taken), formats)
            stop_if_asked()
    return paths


def _name(run: Run, kind: str, options: FigureOptions, pair: tuple[str, str] | None = None) -> str:
    """Figures of two models name them; those of more models carry the kind alone."""
    models = pair or (tuple(run.models) if len(run.models) == 2 else ())
    return "-".join([kind, *([options.measure] * (options.measure != "sfd")), *models])


def _values(run: Run, measure: str) -> pd.DataFrame:
    """scores.csv, or of measures.csv the rows of one measure."""
    if measure == "sfd":
        return read_table(run.path("scores.csv"), only=(*COLUMNS, "sfd"))
    table = read_table(run.path("measures.csv"), only=(*COLUMNS, "measure", "value"))
    mine = table[table["measure"] == measure]
    if mine.empty:
        raise UsageError(f"{run.folder} was scored without {measure}: das-explain score RUN --measure {measure}")
    return mine


def _pairs(run: Run) -> list[tuple[str, str]]:
    pairs = run.table("comparison")[["model_a", "model_b"]].drop_duplicates().astype(str)
    return [(a, b) for a, b in pairs.itertuples(index=False)]


def _distribution(run: Run, options: FigureOptions) -> Iterator[Drawn]:
    figure = distribution_figure(_values(run, options.measure), options.measure, width=options.width)
    yield Drawn(_name(run, "distribution", options), figure)


def _nulls(run: Run, options: FigureOptions) -> Iterator[Drawn]:
    lifts = run.table("lift")
    if not (lifts["measure"] == options.measure).any():
        raise UsageError(
            f"{run.folder} has no nulls of {options.measure}: das-explain score RUN --measure {options.measure} --nulls all"
        )
    yield Drawn(_name(run, "nulls", options), lift_figure(lifts, options.measure, width=options.width))


def _paired(run: Run, options: FigureOptions) -> Iterator[Drawn]:
    scores = _values(run, options.measure)
    for a, b in _each_pair(run):
        figure = scatter_figure(scores, a, b, options.measure, width=options.width)
        yield Drawn(_name(run, "paired", options, (a, b)), figure)


def _readings(run: Run, options: FigureOptions) -> Iterator[Drawn]:
    if not (run.path("readings.csv")).exists():
        raise UsageError(f"{run.folder} was scored without readings: das-explain score RUN --readings")
    readings = run.table("readings")
    default = ScoreOptions.from_json(run.manifest.get("scoring", {})).reading
    for a, b in _each_pair(run):
        figure = readings_figure(readings, a, b, default=default, width=options.width)
        yield Drawn(_name(run, "readings", options, (a, b)), figure)


def _strata(run: Run, options: FigureOptions) -> Iterator[Drawn]:
    pairs = _each_pair(run)
    strata, comparison = run.table("strata"), run.table("comparison")
    for a, b in pairs:
        yield Drawn(_name(run, "strata", options, (a, b)), strata_figure(strata, comparison, a, b, width=options.width))


def _each_pair(run: Run) -> list[tuple[str, str]]:
    if not (pairs := _pairs(run)):
        raise UsageError(f"{run.folder} compares nothing: this figure needs two models with a block of the same name")
    return pairs


def _grid(run: Run, options: FigureOptions) -> Iterator[Drawn]:
    figure = draw_grid(run, options.images, options.blocks, width=options.width, colours=colormap(options.colormap))
    yield Drawn(_name(run, "grid", options), figure)


OF_ANY_MEASURE = ("distribution", "paired", "nulls")
KINDS: Mapping[str, Callable[[Run, FigureOptions], Iterator[Drawn]]] = {
    "grid": _grid,
    "paired": _paired,
    "distribution": _distribution,
    "readings": _readings,
    "nulls": _nulls,
    "strata": _strata,
}
