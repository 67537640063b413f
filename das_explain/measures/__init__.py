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

from collections.abc import Iterable
from dataclasses import replace

from torch import Tensor

from das_explain.measures import (
    auroc,
    average_drop,
    average_precision,
    deletion,
    energy_pointing_game,
    entropy,
    gini,
    increase_in_confidence,
    insertion,
    iou,
    pointing_game,
    relevance_rank_accuracy,
    road,
    sfd,
)
from das_explain.measures.base import DEFAULTS, Measure, Measured, MeasureOptions, levels_of
from das_explain.measures.probe import Probe
from das_explain.measures.ranking import Ranking
from das_explain.measures.regions import Regions

__all__ = ["MEASURES", "Measure", "MeasureOptions", "Measured", "Probe", "Regions", "compute_all", "register"]

MEASURES: dict[str, Measure] = {}


def register(measure: Measure) -> Measure:
    """Adds a measure under its name; returns it.

    >>> import torch
    >>> from das_explain.measures import MEASURES, Measure, Measured, compute_all, register
    >>> def compute(maps, masks, options=None):
    ...     return Measured(maps.double().amax((1, 2)), ["ok"] * len(maps), {})
    >>> highest = register(Measure("highest_weight", False, (0.0, 1.0), True, compute))
    >>> float(compute_all(torch.tensor([[[0.5, 0.25]]]), torch.tensor([[[True, False]]]))["highest_weight"].values)
    0.5
    >>> del MEASURES["highest_weight"]
    """
    MEASURES[measure.name] = measure
    return measure


for each in (
    sfd,
    pointing_game,
    energy_pointing_game,
    relevance_rank_accuracy,
    iou,
    auroc,
    average_precision,
    gini,
    entropy,
    insertion,
    deletion,
    road,
    average_drop,
    increase_in_confidence,
):
    register(each.MEASURE)


def compute_all(
    maps: Tensor,
    masks: Tensor,
    options: MeasureOptions = DEFAULTS,
    measures: Iterable[Measure] | None = None,
) -> dict[str, Measured]:
    """Several measures of the same maps, name -> ``Measured``; what they share (areas, sorted pixels) is computed once.

    Args:
        maps: float32 (N, H, W) in [0, 1]. masks: bool (N, H, W).
        options: for all of them. With ``regions``, made of these very masks by ``Regions(masks)``, what is known of the
            masks is not derived again for the next maps.
        measures: default: all that need no network.

    >>> import torch
    >>> from das_explain.measures import MEASURES, compute_all
    >>> maps, masks = torch.tensor([[[1.0, 0.5, 0.0]]]), torch.tensor([[[True, False, False]]])
    >>> found = compute_all(maps, masks, measures=[MEASURES["pointing_game"], MEASURES["energy_pointing_game"]])
    >>> {name: round(float(measured.values), 3) for name, measured in found.items()}
    {'pointing_game': 1.0, 'energy_pointing_game': 0.667}
    """
    chosen = [each for each in MEASURES.values() if not each.needs_network] if measures is None else list(measures)
    known = options.regions if options.regions is not None and options.regions.masks is masks else Regions(masks)
    readers = [measure.reader for measure in chosen if measure.reader]
    ranking = Ranking(maps, masks, readers)
    options = replace(options, regions=known, levels=levels_of(maps, options), ranking=ranking)
    return {measure.name: Measured(*measure.compute(maps, masks, options)) for measure in chosen}
