"""What every measure is made of: its options, its result, its metadata. No measure is named here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from das_explain.errors import UsageError
from das_explain.measures.levels import Levels
from das_explain.measures.probe import Probe, along_path, hide, probe_of
from das_explain.measures.ranking import Ranking, Reader
from das_explain.measures.regions import Regions


@dataclass(frozen=True)
class MeasureOptions:
    """How maps are scored: no part of a run's identity, since evidence can be scored again.

    ``threshold`` (of ``sfd`` and ``iou``), ``scaling`` and ``box`` are those of ``sfd.sfd_score``; ``box`` may also be
    ``shared``: one rectangle for all models of a block, around R and the salient pixels of every one of them, which
    whoever calls gives in ``shared``, bool (N, H, W). ``tolerance``: of the pointing game, in pixels; ``distances``: whether it
    says how far its misses are. ``regions``: what is
    known of the masks already, ``levels`` of the maps, and ``ranking``: the pixels of these maps in order;
    ``measures.compute_all`` makes them once for all measures.

    Of measures that need the network: ``probe`` asks it; ``baseline``, a key of ``probe.BASELINES``, is what hides a
    pixel in ``insertion`` and ``deletion`` (``None``: each one's own), in ``steps`` steps of equally many pixels.

    >>> from das_explain.measures import MEASURES, MeasureOptions
    >>> maps, masks = torch.tensor([[[0.25, 0.5, 1.0]]]), torch.tensor([[[False, True, True]]])
    >>> [float(MEASURES["iou"].compute(maps, masks, MeasureOptions(threshold=each)).values) for each in (0.3, 0.6)]
    [1.0, 0.5]
    """

    threshold: float = 0.3
    scaling: str = "antilog"
    box: str = "rect"
    shared: Tensor | None = None
    tolerance: float = 0.0
    distances: bool = True
    regions: Regions | None = None
    levels: Levels | None = None
    ranking: Ranking | None = None
    probe: Probe | None = None
    baseline: str | None = None
    steps: int = 28


DEFAULTS = MeasureOptions()


class Measured(NamedTuple):
    """N values float64 (N,), NaN where there is none; one status word each; further columns, tensors of length N.

    >>> from das_explain.measures import MEASURES
    >>> maps, masks = torch.tensor([[[1.0, 0.5]], [[0.0, 0.0]]]), torch.tensor([[[True, False]], [[True, False]]])
    >>> measured = MEASURES["pointing_game"].compute(maps, masks)
    >>> measured.values, measured.status, list(measured.extras)
    (tensor([1., nan], dtype=torch.float64), ['ok', 'zero_cam'], ['hit_distance'])
    """

    values: Tensor
    status: list[str]
    extras: dict[str, Tensor]


@dataclass(frozen=True)
class Measure:
    """One measure.

    ``compute(maps, masks, options)``: maps float32 (N, H, W) in [0, 1], masks bool (N, H, W) -> ``Measured``;
    ``options`` may be left out. Maps may be one map, expanded, and are not to be changed. It never raises for a
    degenerate map: it gives a status of ``statuses.STATUSES``.
    ``bounds``: the least and the largest value. ``needs_network``: it has to run the network on changed photos.
    ``title``: what tables and figures for people call it; default: the name in words.
    ``of_region``: whether it looks at R at all; of one that looks neither at it nor at the photo, another photo's map says
    nothing.
    ``reader``: of a measure of ranks, what it reads from a map's sorted pixels, so that one sort serves all of them.

    >>> from das_explain.measures import Measure, Measured
    >>> def compute(maps, masks, options=None):
    ...     return Measured((maps * masks).double().mean((1, 2)), ["ok"] * len(maps), {})
    >>> inside = Measure("mean_inside", needs_network=False, bounds=(0.0, 1.0), higher_is_better=True, compute=compute)
    >>> inside.title, inside.compute(torch.tensor([[[1.0, 0.5]]]), torch.tensor([[[True, False]]])).values
    ('mean inside', tensor([0.5000], dtype=torch.float64))
    """

    name: str
    needs_network: bool
    bounds: tuple[float, float]
    higher_is_better: bool
    compute: Callable[..., Measured]
    title: str = ""
    reader: Reader | None = None
    of_region: bool = True

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", self.name.replace("_", " "))


def check_maps(maps: Tensor, masks: Tensor) -> None:
    """Raises UsageError unless maps are float (N, H, W) and masks bool of the same shape."""
    if maps.ndim != 3 or masks.shape != maps.shape:
        raise UsageError(
            f"maps and masks must both be (N, H, W); they are {tuple(maps.shape)} and {tuple(masks.shape)}"
        )
    if masks.dtype != torch.bool:
        raise UsageError(f"masks must be bool, not {masks.dtype}")
    if not maps.is_floating_point():
        raise UsageError(f"maps must be float tensors in [0, 1], not {maps.dtype}")


def regions_of(masks: Tensor, options: MeasureOptions) -> Regions:
    """What is known of these masks: ``options.regions`` if it is of them, else derived anew."""
    return options.regions if options.regions is not None and options.regions.masks is masks else Regions(masks)


def levels_of(maps: Tensor, options: MeasureOptions) -> Levels:
    """How high these maps are: ``options.levels`` if it is of them, else looked at anew."""
    return options.levels if options.levels is not None and options.levels.maps.is_set_to(maps) else Levels(maps)


def ranking_of(maps: Tensor, masks: Tensor, options: MeasureOptions) -> Ranking:
    """The pixels in order: ``options.ranking`` if it is of these maps and masks, else sorted anew."""
    known = options.ranking
    return known if known is not None and known.maps is maps and known.masks is masks else Ranking(maps, masks)


def judge(
    maps: Tensor, regions: Regions | None = None, *, needs_outside: bool = False, levels: Levels | None = None
) -> tuple[Tensor, list[str]]:
    """Which maps can be scored, bool (N,), and their statuses: ``ok`` or what is degenerate about them.

    In this order: ``nonfinite_cam``; ``no_object`` and, where a measure needs pixels off R, ``whole_frame``, both only
    with ``regions``; ``zero_cam``: no weight above 0. ``levels`` of the maps need not be given.

    >>> judge(torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]], [[0.0, torch.nan]]]))
    (tensor([ True, False, False]), ['ok', 'zero_cam', 'nonfinite_cam'])
    """
    levels = levels or Levels(maps)
    conditions = {"nonfinite_cam": ~levels.finite}
    if regions is not None:
        conditions["no_object"] = regions.area == 0
        if needs_outside:
            conditions["whole_frame"] = regions.area == regions.masks[0].numel() if len(maps) else regions.area > 0
    conditions["zero_cam"] = levels.highest <= 0
    status = first_that_holds(conditions, len(maps))
    return torch.tensor([word == "ok" for word in status], dtype=torch.bool, device=maps.device), status


def from_order(
    maps: Tensor,
    masks: Tensor,
    options: MeasureOptions,
    reader: Reader,
    *,
    needs_object: bool = True,
    needs_outside: bool = False,
) -> Measured:
    """A measure of ranks: what ``reader`` says of each map that can be scored, see ``judge``."""
    check_maps(maps, masks)
    regions = regions_of(masks, options) if needs_object else None
    _, status = judge(maps, regions, needs_outside=needs_outside, levels=levels_of(maps, options))
    ranking = ranking_of(maps, masks, options)
    values = [ranking.value(row, reader) if word == "ok" else torch.nan for row, word in enumerate(status)]
    return Measured(torch.tensor(values, dtype=torch.float64), status, {})


def from_path(
    name: str, maps: Tensor, masks: Tensor, options: MeasureOptions, baseline: str, *, uncovers: bool
) -> Measured:
    """A measure of a way from the photo to a hidden one, or back where it ``uncovers``: the area under the answers.

    ``name`` is the measure's, ``baseline`` what hides a pixel unless ``options`` says otherwise.
    """
    check_maps(maps, masks)
    probe = probe_of(maps, options.probe, name)
    ends = probe.images, hide(probe.images, options.baseline or baseline)
    start, end = reversed(ends) if uncovers else ends
    answers = along_path(probe, maps, start, end, options.steps)
    return answered(maps, torch.trapezoid(answers, dx=1 / options.steps, dim=1), answers)


def answered(maps: Tensor, values: Tensor, answers: Tensor, **conditions: Tensor) -> Measured:
    """A measure of faithfulness: ``values`` (N,) where the map can be judged and the network gave numbers.

    ``answers`` float64 (N, K): all that it said of each photo; further ``conditions`` by status, bool (N,).
    """
    status = judge(maps)[1]
    conditions = {"nonfinite_output": ~answers.isfinite().all(1), **conditions}
    heard = first_that_holds({word: each.cpu().numpy() for word, each in conditions.items()}, len(maps))
    status = [word if word != "ok" else said for word, said in zip(status, heard, strict=True)]
    scored = torch.tensor([word == "ok" for word in status], dtype=torch.bool, device=values.device)
    return Measured(values.double().where(scored, torch.nan), status, {})


def share(part: np.ndarray, whole: np.ndarray, scored: Tensor) -> Tensor:
    """part / whole, float64 (N,), of the maps that can be scored, bool (N,); NaN of the others."""
    shares = np.full(len(part), np.nan)
    np.divide(part, whole, out=shares, where=scored.cpu().numpy())
    return torch.from_numpy(shares)


def first_that_holds(conditions: dict[str, np.ndarray], count: int) -> list[str]:
    """``count`` statuses: each the first word whose condition, bool (N,), holds, else ``ok``.

    >>> first_that_holds({"no_object": np.array([True, False]), "zero_cam": np.array([True, False])}, 2)
    ['no_object', 'ok']
    """
    status = ["ok"] * count
    for word, condition in reversed(conditions.items()):
        for row in np.flatnonzero(condition):
            status[row] = word
    return status
