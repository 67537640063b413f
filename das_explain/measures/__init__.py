"""What can be said of a map and a mask: one file per measure, and one line in ``MEASURES``.

A measure is data (name, bounds, direction) and a function of a batch. Tables, statistics, figures and the report take
any measure; none of them knows one by name.

>>> import torch
>>> from das_explain.measures import MEASURES
>>> maps, masks = torch.tensor([[[1.0, 0.5], [0.0, 0.0]]]), torch.tensor([[[True, False], [False, False]]])
>>> MEASURES["pointing_game"].compute(maps, masks).values
tensor([1.], dtype=torch.float64)
"""

from __future__ import annotations

from das_explain.measures import pointing_game, sfd
from das_explain.measures.base import Measure, Measured, MeasureOptions

__all__ = ["MEASURES", "Measure", "MeasureOptions", "Measured", "register"]

MEASURES: dict[str, Measure] = {}


def register(measure: Measure) -> Measure:
    """Adds a measure under its name; returns it."""
    MEASURES[measure.name] = measure
    return measure


for each in (sfd, pointing_game):
    register(each.MEASURE)
