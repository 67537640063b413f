"""Evidence of some images -> the values of every measure on their maps and on blind ones, and why there is none.

Images are scored some at a time: blind maps are scored once for all models of a block, and a shared box needs all of
these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from das_explain.cam.maps import upsample, upsample_in_parts
from das_explain.evidence.values import Evidence, Key
from das_explain.evidence.whole import WholeSample
from das_explain.measures import MEASURES, Measured, Regions, compute_all
from das_explain.measures.levels import Levels
from das_explain.nulls import NULLS, Null
from das_explain.scoring.options import ScoreOptions
from das_explain.statuses import SCORED

FAINT = 1e-6  # of the largest logit: a map whose maximum is below has lost nearly all of float32's seven digits
PIXELS = 2**21  # of maps that are looked at together: with fewer, Python takes a larger share of the time
Results = dict[str, Measured]  # by measure
EDGES = ("b_x0", "b_y0", "b_x1", "b_y1")
EXTRAS = (*EDGES, "w_r", "w_n")  # of sfd, in scores.csv


@dataclass(frozen=True)
class ModelFacts:
    """What scoring knows of a model: its class names (``None``: numbers), which logit each class of the data is, and
    whether that logit is what was explained (``--target label``), so that a label it does not know leaves no score."""

    name: str
    blocks: tuple[str, ...]
    labels: Sequence[str] | None
    logit: Mapping[str, int]
    needs_label: bool = True


@dataclass
class Scored:
    """Values and statuses of N images; of a null under (key, measure, null), of the models' own maps with ``""``.

    ``reasons``: of each model, object (N,), why an image has no score before its map is looked at, ``ok`` if nothing is
    known. ``extras``: of sfd, ``EXTRAS`` by name.
    """

    reasons: dict[str, np.ndarray]
    values: dict[tuple[Key, str, str], np.ndarray] = field(default_factory=dict)
    statuses: dict[tuple[Key, str, str], np.ndarray] = field(default_factory=dict)
    extras: dict[Key, dict[str, np.ndarray]] = field(default_factory=dict)


class Scorer:
    """Scores evidence with one choice of options. Pickles, so that other processes can have one."""

    def __init__(
        self,
        models: Sequence[ModelFacts],
        options: ScoreOptions,
        whole: WholeSample | None = None,
        *,
        asked: Sequence[str] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        """``whole``: the sample that the evidence is of, without which there are no nulls but those that need nothing of
        it. ``asked``: nulls about which the networks were asked, or are to be: of measures that need them, there are
        no others. ``device``: where maps are resized and measured."""
        self.models = models
        self.device = torch.device(device)
        self.options = options.resolved()
        self.whole = whole
        self.keys = [Key(model.name, block) for model in models for block in model.blocks]
        self.measures = [MEASURES[name] for name in self.options.measures]
        self.on_maps = [measure for measure in self.measures if not measure.needs_network]
        nulls = [NULLS[name] for name in self.options.nulls]
        self.nulls = whole.usable(nulls) if whole else [null for null in nulls if null.blind and not null.needs]
        self.asked = [null.name for null in self.nulls if null.name in asked]
        self._rooms: dict[tuple[int, int], Tensor] = {}  # by size

    def score(self, evidence: Evidence, first: int = 0) -> Scored:
        """The values of all images; ``first`` is the rank of its first shown image among all that were shown."""
        scored = Scored({model.name: _reasons(evidence, model) for model in self.models})
        count = len(evidence)
        for key in self.keys:
            taken = {null.name: self.measures if null.name in self.asked else self.on_maps for null in self.nulls}
            for null, measures in {"": self.measures, **taken}.items():
                for measure in measures:
                    scored.values[key, measure.name, null] = np.full(count, np.nan)
                    scored.statuses[key, measure.name, null] = scored.reasons[key.model].copy()
            scored.extras[key] = {extra: np.full(count, np.nan) for extra in EXTRAS}
        if evidence.masks and len(evidence.shown):
            wanted = np.array([evidence.photos[i].status == "ok" for i in evidence.shown])
            rows = np.flatnonzero(wanted)
            for some in few_at_a_time(rows, evidence.sizes.values()):
                self._chunk(evidence, some, first, scored)
        self._network_measures(evidence, scored)
        self._nonfinite(evidence, scored)
        self._faint(evidence, scored)
        return scored

    def _chunk(self, evidence: Evidence, rows: np.ndarray, first: int, scored: Scored) -> None:
        """Scores the shown images ``rows`` (k,), which all have a region."""
        positions = evidence.shown[rows]
        blind: dict[str, dict[str, Results]] = {}
        regions = {
            geometry: Regions(torch.from_numpy(each[rows]).to(self.device)) for geometry, each in evidence.masks.items()
        }
        names = [evidence.photos[i].image for i in positions]
        for block in dict.fromkeys(key.block for key in self.keys):
            keys = [key for key in self.keys if key.block == block and key in evidence.maps]
            shared = self._shared_pixels(keys, evidence, rows)
            for key in keys:
                geometry = evidence.geometries[key.model]
                here, usable = regions[geometry], scored.reasons[key.model][positions] == "ok"
                native = self._with_partners(evidence, key, rows, first)
                both = self._room(evidence.sizes[geometry], len(native))
                maps, others = both[: len(rows)], both[len(rows) :]
                options = replace(
                    self.options.for_measures(),
                    regions=here,
                    shared=shared.get(geometry),
                    levels=self._upsample(native[: len(rows)], maps),
                )
                own = compute_all(maps, here.masks, options, self.on_maps)
                if geometry not in blind:
                    blind[geometry] = self._blind(maps, here, geometry, names)
                fakes: dict[str, Results] = {"": own, **blind[geometry]}
                levels = self._upsample(native[len(rows) :], others) if len(others) else None
                for null in self.nulls:
                    if not null.blind:
                        fake = self._fake(null, key, evidence, both, here.masks, names)
                        fakes[null.name] = self._on_null(fake, here, levels)
                for null_name, results in fakes.items():
                    for measure, result in results.items():
                        self._put(scored, (key, measure, null_name), positions, usable, result)

    def _room(self, size: tuple[int, int], count: int) -> Tensor:
        """Where maps at full size are written, float32 (count, *size): to touch new memory takes longer than to resize."""
        room = self._rooms.get(size)
        if room is None or len(room) < count:
            room = self._rooms[size] = torch.empty(count, *size, device=self.device)
        return room[:count]

    def _upsample(self, native: np.ndarray, room: Tensor) -> Levels:
        return Levels.of_upsampled(room, upsample_in_parts(self._here(native), room))

    def _here(self, native: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(native)).to(self.device)

    def _shared_pixels(self, keys: Sequence[Key], evidence: Evidence, rows: np.ndarray) -> dict[str, Tensor]:
        """The pixels that any model of a geometry holds salient, bool (k, H, W) by geometry, if models share a box."""
        found: dict[str, Tensor] = {}
        for key in keys if self.options.box == "shared" else ():
            geometry = evidence.geometries[key.model]
            full = upsample(self._here(evidence.maps[key].native[rows]), evidence.sizes[geometry])
            salient = full >= self.options.threshold
            found[geometry] = salient | found[geometry] if geometry in found else salient
        return found

    def _blind(self, like: Tensor, regions: Regions, geometry: str, names: list[str]) -> dict[str, Results]:
        """What maps that never saw a photo get on these masks."""
        partner = torch.arange(len(regions.masks), device=self.device)
        results: dict[str, Results] = {}
        for null in self.nulls:
            if null.blind:
                context = self._context(null, like.shape[1:], names, geometry)
                results[null.name] = self._on_null(null.make(like, regions.masks, partner, **context), regions)
        return results

    def _with_partners(self, evidence: Evidence, key: Key, rows: np.ndarray, first: int) -> np.ndarray:
        """The native maps of the images, then those of their partners, float32 (2 k, h, w); if there are, and are asked for."""
        own = evidence.maps[key].native[rows]
        partners = self.whole.partners if self.whole else None
        if not partners or all(null.blind for null in self.nulls):
            return own
        return np.concatenate([own, partners.maps(key, first + rows)])

    def _fake(self, null: Null, key: Key, evidence: Evidence, maps: Tensor, masks: Tensor, names: list[str]) -> Tensor:
        native = evidence.maps[key].native.shape[1:]
        context = self._context(null, native, names, evidence.geometries[key.model])
        partner = torch.arange(len(masks), device=self.device) + (len(maps) - len(masks))
        return null.make(maps, masks, partner, **context)

    def _context(self, null: Null, native: Sequence[int], names: list[str], geometry: str) -> dict[str, Any]:
        return self.whole.context(null, native, names, geometry) if self.whole else {}

    def _on_null(self, maps: Tensor, regions: Regions, levels: Levels | None = None) -> Results:
        """A shared box is the models'; a null stands on its own."""
        options = replace(self.options.for_measures(), regions=regions, levels=levels)
        if options.box == "shared":
            options = replace(options, box="rect")
        return compute_all(maps, regions.masks, options, self.on_maps)

    def _put(
        self, scored: Scored, at: tuple[Key, str, str], positions: np.ndarray, usable: np.ndarray, result: Measured
    ) -> None:
        where = positions[usable]
        counts = np.array([word in SCORED for word in result.status])
        scored.values[at][where] = np.where(counts, result.values.double().cpu().numpy(), np.nan)[usable]
        scored.statuses[at][where] = np.array(result.status, dtype=object)[usable]
        key, measure, null = at
        if measure == "sfd" and not null:
            for name in EXTRAS:
                extra = np.where(counts, result.extras[name].double().cpu().numpy(), np.nan)
                scored.extras[key][name][where] = extra[usable]

    def _network_measures(self, evidence: Evidence, scored: Scored) -> None:
        """What was measured while the networks were at hand; an image of unknown class or region has its reason."""
        own = {(*at, ""): answers for at, answers in evidence.measured.items()}
        for at, (values, status) in {**own, **evidence.nulls}.items():
            if at in scored.values:
                usable = scored.reasons[at[0].model][evidence.shown] == "ok"
                where, words = evidence.shown[usable], np.array(status, dtype=object)[usable]
                scored.values[at][where] = np.where(np.isin(words, SCORED), values[usable], np.nan)
                scored.statuses[at][where] = words
        for at in scored.values:
            if at[2] and MEASURES[at[1]].needs_network and at not in evidence.nulls:
                words = scored.statuses[at]
                words[words == "ok"] = "not_asked"

    def _nonfinite(self, evidence: Evidence, scored: Scored) -> None:
        """A map that is not finite is said before anything about the mask."""
        for key, maps in evidence.maps.items():
            broken = ~np.isfinite(maps.native).all((1, 2))
            if broken.any():
                for measure in self.measures:
                    scored.statuses[key, measure.name, ""][evidence.shown[broken]] = "nonfinite_cam"
                    scored.values[key, measure.name, ""][evidence.shown[broken]] = np.nan

    def _faint(self, evidence: Evidence, scored: Scored) -> None:
        """What is scored on a faint map is said to be: the value stays."""
        for key, maps in evidence.maps.items():
            if key.model not in evidence.logits:
                continue
            with np.errstate(invalid="ignore"):
                scale = np.abs(evidence.logits[key.model].values).max(1, initial=0)
                faint = evidence.shown[(maps.raw_max > 0) & (maps.raw_max < FAINT * scale)]
            for measure in self.measures if len(faint) else ():
                if (key, measure.name, "") in scored.statuses:
                    words = scored.statuses[key, measure.name, ""]
                    words[faint] = np.where(np.isin(words[faint].astype(str), SCORED), "faint_cam", words[faint])


def few_at_a_time(rows: np.ndarray, sizes: Iterable[tuple[int, int]], models: int = 1) -> Iterator[np.ndarray]:
    """The images int (n,) in parts of which that many models' maps can be at hand at full size, none larger than the largest of ``sizes``."""
    pixels = models * max(height * width for height, width in sizes)
    together = max(1, PIXELS // pixels)
    for start in range(0, len(rows), together):
        yield rows[start : start + together]


def _reasons(evidence: Evidence, model: ModelFacts) -> np.ndarray:
    """object (N,): why an image has no score of this model before its map is looked at; ``ok`` if nothing is known."""
    reasons = np.array([photo.status for photo in evidence.photos], dtype=object)
    if not evidence.masks:
        reasons[reasons != "unreadable"] = "no_mask"
    if model.logit and model.needs_label:
        unknown = [photo.label is not None and photo.label not in model.logit for photo in evidence.photos]
        reasons[np.array(unknown, bool) & (reasons == "ok")] = "unknown_label"
    return reasons
