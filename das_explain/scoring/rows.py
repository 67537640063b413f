"""Evidence of some images -> their rows of scores.csv, measures.csv and nulls.csv, and the values behind them.

Images are scored a few at a time, all models of a block together: a shared box needs them, and blind maps are scored
once for all. Everything is arrays of (image, key); a row of a table is one of their cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from das_explain.cam.engine import upsample
from das_explain.evidence import tables
from das_explain.evidence.values import Evidence, Key
from das_explain.measures import MEASURES, Measured, Regions, compute_all
from das_explain.nulls import NULLS, Null
from das_explain.nulls.pairing import image_seeds
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.partners import Partners
from das_explain.statuses import SCORED

CHUNK = 16  # images scored together: their maps stay in the processor's cache
Results = dict[str, Measured]  # by measure
EXTRAS = ("b_x0", "b_y0", "b_x1", "b_y1", "w_r", "w_n")  # of sfd, in scores.csv


@dataclass(frozen=True)
class ModelFacts:
    """What scoring knows of a model: its class names (``None``: numbers) and which logit each class of the data is."""

    name: str
    blocks: tuple[str, ...]
    labels: Sequence[str] | None
    logit: Mapping[str, int]


@dataclass
class Scored:
    """Values and statuses of N images; of a null under (key, measure, null), of the models' own maps with ``""``."""

    values: dict[tuple[Key, str, str], np.ndarray]
    statuses: dict[tuple[Key, str, str], np.ndarray]
    extras: dict[tuple[Key, str], dict[str, np.ndarray]]


class Scorer:
    """Scores evidence with one choice of options."""

    def __init__(
        self,
        models: Sequence[ModelFacts],
        options: ScoreOptions,
        partners: Partners | None = None,
        *,
        seed: int = 0,
        mean_masks: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.models = models
        self.options = options.resolved()
        self.partners = partners
        self.seed = seed
        self.mean_masks = mean_masks or {}
        self.keys = [Key(model.name, block) for model in models for block in model.blocks]
        self.measures = [MEASURES[name] for name in self.options.measures]
        self.on_maps = [measure for measure in self.measures if not measure.needs_network]
        self.nulls = [NULLS[name] for name in self.options.nulls]
        if not self.partners:  # one image has no partner
            self.nulls = [null for null in self.nulls if null.blind or null.needs]

    def score(self, evidence: Evidence, first: int = 0) -> Scored:
        """The values of all images; ``first`` is the rank of its first shown image among all that were shown."""
        scored = Scored({}, {}, {})
        count = len(evidence)
        names = [measure.name for measure in self.measures]
        reasons = {model.name: self._reasons(evidence, model) for model in self.models}
        for key in self.keys:
            for name in names:
                for null in ("", *(null.name for null in self.nulls)):
                    scored.values[key, name, null] = np.full(count, np.nan)
                    scored.statuses[key, name, null] = reasons[key.model].copy()
            scored.extras[key, "sfd"] = {extra: np.full(count, np.nan) for extra in EXTRAS}
        if evidence.masks and len(evidence.shown):
            wanted = np.array([evidence.photos[i].status == "ok" for i in evidence.shown])
            rows = np.flatnonzero(wanted)
            for start in range(0, len(rows), CHUNK):
                self._chunk(evidence, rows[start : start + CHUNK], first, scored, reasons)
        self._network_measures(evidence, scored, reasons)
        self._nonfinite(evidence, scored)
        return scored

    def _reasons(self, evidence: Evidence, model: ModelFacts) -> np.ndarray:
        """object (N,): why an image has no score of this model before its map is looked at; ``ok`` if nothing is known."""
        reasons = np.array([photo.status for photo in evidence.photos], dtype=object)
        if not evidence.masks:
            reasons[reasons != "unreadable"] = "no_mask"
        if model.logit:
            unknown = [photo.label is not None and photo.label not in model.logit for photo in evidence.photos]
            reasons[np.array(unknown, bool) & (reasons == "ok")] = "unknown_label"
        return reasons

    def _chunk(
        self, evidence: Evidence, rows: np.ndarray, first: int, scored: Scored, reasons: Mapping[str, np.ndarray]
    ) -> None:
        """Scores the shown images ``rows`` (k,), which all have a region."""
        positions = evidence.shown[rows]
        blind: dict[str, dict[str, Results]] = {}
        regions = {geometry: Regions(torch.from_numpy(each[rows])) for geometry, each in evidence.masks.items()}
        names = [evidence.photos[i].image for i in positions]
        for block in dict.fromkeys(key.block for key in self.keys):
            keys = [key for key in self.keys if key.block == block and key in evidence.maps]
            natives = {key: self._with_partners(evidence, key, rows, first) for key in keys}
            both = {key: self._upsampled(evidence, key, native) for key, native in natives.items()}
            maps = {key: each[: len(rows)] for key, each in both.items()}
            for key in keys:
                geometry = evidence.geometries[key.model]
                here, usable = regions[geometry], reasons[key.model][positions] == "ok"
                options = replace(self.options.for_measures(), regions=here, shared=self._shared(key, maps, evidence))
                own = compute_all(maps[key], here.masks, options, self.on_maps)
                if geometry not in blind:
                    blind[geometry] = self._blind(maps[key], here, geometry, names)
                fakes: dict[str, Results] = {"": own, **blind[geometry]}
                for null in self.nulls:
                    if not null.blind:
                        fake = self._fake(null, key, evidence, both[key], here.masks, names)
                        fakes[null.name] = self._on_null(fake, here)
                for null_name, results in fakes.items():
                    for measure, result in results.items():
                        self._put(scored, (key, measure, null_name), positions, usable, result)

    def _upsampled(self, evidence: Evidence, key: Key, native: np.ndarray) -> Tensor:
        return upsample(torch.from_numpy(np.ascontiguousarray(native)), evidence.sizes[evidence.geometries[key.model]])

    def _shared(self, key: Key, maps: Mapping[Key, Tensor], evidence: Evidence) -> Tensor | None:
        """The pixels that any model of this geometry holds salient, bool (k, H, W), if they share a box."""
        if self.options.box != "shared":
            return None
        geometry = evidence.geometries[key.model]
        seen_alike = [each for other, each in maps.items() if evidence.geometries[other.model] == geometry]
        return torch.stack([each >= self.options.threshold for each in seen_alike]).any(0)

    def _blind(self, like: Tensor, regions: Regions, geometry: str, names: list[str]) -> dict[str, Results]:
        """What maps that never saw a photo get on these masks."""
        partner = torch.arange(len(regions.masks))
        results: dict[str, Results] = {}
        for null in self.nulls:
            if null.blind:
                context = self._context(null.needs, like.shape[1:], names, geometry)
                results[null.name] = self._on_null(null.make(like, regions.masks, partner, **context), regions)
        return results

    def _with_partners(self, evidence: Evidence, key: Key, rows: np.ndarray, first: int) -> np.ndarray:
        """The native maps of the images, then those of their partners, float32 (2 k, h, w); if there are, and are asked for."""
        own = evidence.maps[key].native[rows]
        if not self.partners or all(null.blind for null in self.nulls):
            return own
        return np.concatenate([own, self.partners.maps(key, first + rows)])

    def _fake(self, null: Null, key: Key, evidence: Evidence, maps: Tensor, masks: Tensor, names: list[str]) -> Tensor:
        native = evidence.maps[key].native.shape[1:]
        context = self._context(null.needs, native, names, evidence.geometries[key.model])
        partner = torch.arange(len(masks)) + (len(maps) - len(masks))
        return null.make(maps, masks, partner, **context)

    def _context(self, needs: Sequence[str], native: Sequence[int], names: list[str], geometry: str) -> dict[str, Any]:
        context: dict[str, Any] = {}
        if "native" in needs:
            context["native"] = tuple(native)
        if "seeds" in needs:
            context["seeds"] = torch.from_numpy(image_seeds(names, self.seed))
        if "mean_mask" in needs:
            context["mean_mask"] = torch.from_numpy(self.mean_masks[geometry])
        return context

    def _on_null(self, maps: Tensor, regions: Regions) -> Results:
        """A shared box is the models'; a null stands on its own."""
        options = replace(self.options.for_measures(), regions=regions)
        if options.box == "shared":
            options = replace(options, box="rect")
        return compute_all(maps, regions.masks, options, self.on_maps)

    def _put(
        self, scored: Scored, at: tuple[Key, str, str], positions: np.ndarray, usable: np.ndarray, result: Measured
    ) -> None:
        where = positions[usable]
        counts = np.array([word in SCORED for word in result.status])
        scored.values[at][where] = np.where(counts, result.values.double().numpy(), np.nan)[usable]
        scored.statuses[at][where] = np.array(result.status, dtype=object)[usable]
        key, measure, null = at
        if measure == "sfd" and not null:
            for name in EXTRAS:
                extra = np.where(counts, result.extras[name].double().numpy(), np.nan)
                scored.extras[key, measure][name][where] = extra[usable]

    def _network_measures(self, evidence: Evidence, scored: Scored, reasons: Mapping[str, np.ndarray]) -> None:
        """What was measured while the networks were at hand; an image of unknown class or region has its reason."""
        for (key, name), (values, status) in evidence.measured.items():
            if (key, name, "") in scored.values:
                usable = reasons[key.model][evidence.shown] == "ok"
                where, words = evidence.shown[usable], np.array(status, dtype=object)[usable]
                scored.values[key, name, ""][where] = np.where(np.isin(words, SCORED), values[usable], np.nan)
                scored.statuses[key, name, ""][where] = words

    def _nonfinite(self, evidence: Evidence, scored: Scored) -> None:
        """A map that is not finite is said before anything about the mask."""
        for key, maps in evidence.maps.items():
            broken = ~np.isfinite(maps.native).all((1, 2))
            if broken.any():
                for measure in self.measures:
                    scored.statuses[key, measure.name, ""][evidence.shown[broken]] = "nonfinite_cam"
                    scored.values[key, measure.name, ""][evidence.shown[broken]] = np.nan

    def score_rows(self, evidence: Evidence, scored: Scored) -> pd.DataFrame:
        """The rows of scores.csv: image by image, models and blocks in order.

        Logits that give no probabilities (NaN, infinity) claim no class.
        """
        count, shown = len(evidence), evidence.shown
        facts = {model.name: self._facts(evidence, model) for model in self.models}
        columns: dict[str, list[np.ndarray]] = {name: [] for name in tables.SCORES}
        images = np.array([photo.image for photo in evidence.photos], dtype=object)
        labels = np.array([photo.label for photo in evidence.photos], dtype=object)
        has_region = np.array([photo.status == "ok" for photo in evidence.photos]) & bool(evidence.masks)
        areas: dict[str, np.ndarray] = {}
        for geometry, masks in evidence.masks.items():
            areas[geometry] = np.full(count, np.nan)
            areas[geometry][shown] = masks.mean((1, 2))
        for key in self.keys:
            cam_max = np.full(count, np.nan)
            if key in evidence.maps:
                cam_max[shown] = evidence.maps[key].raw_max
            area = areas.get(evidence.geometries[key.model], np.full(count, np.nan))
            cells: dict[str, Any] = {
                "image": images,
                "label": labels,
                "model": np.full(count, key.model, object),
                "block": np.full(count, key.block, object),
                **facts[key.model],
                "cam_max": np.where(np.isfinite(cam_max), cam_max, np.nan),
                "r_area": np.where(has_region, area, np.nan),
                **scored.extras[key, "sfd"],
                "sfd": scored.values[key, "sfd", ""],
                "status": scored.statuses[key, "sfd", ""],
            }
            for name in tables.SCORES:
                columns[name].append(cells[name])
        table = pd.DataFrame({name: _interleaved(parts) for name, parts in columns.items()})
        for edge in EXTRAS[:4]:
            table[edge] = table[edge].astype("Int64")
        return table

    def _facts(self, evidence: Evidence, model: ModelFacts) -> dict[str, np.ndarray]:
        """``target``, ``predicted``, ``confidence`` and ``correct`` of each image, None and NaN where there is none."""
        count, shown = len(evidence), evidence.shown
        cells: dict[str, np.ndarray] = {
            name: np.full(count, None, object) for name in ("target", "predicted", "correct")
        } | {"confidence": np.full(count, np.nan)}
        logits = evidence.logits.get(model.name)
        if logits is None:
            return cells
        confidence, highest = logits.confidence, logits.highest
        for row, position in enumerate(shown):
            if np.isnan(confidence[row]):
                continue
            label, best = evidence.photos[position].label, int(highest[row])
            cells["target"][position] = self._class_name(model, int(logits.target[row]))
            cells["predicted"][position] = self._class_name(model, best)
            cells["confidence"][position] = confidence[row]
            if label in model.logit:
                cells["correct"][position] = best == model.logit[label]
        return cells

    @staticmethod
    def _class_name(model: ModelFacts, index: int) -> str:
        return model.labels[index] if model.labels else str(index)

    def measure_rows(self, evidence: Evidence, scored: Scored) -> pd.DataFrame:
        """The rows of measures.csv: image by image, models, blocks and measures in order."""
        return self._long(
            evidence, scored, [(key, m.name, "") for key in self.keys for m in self.measures], nulls=False
        )

    def null_rows(self, evidence: Evidence, scored: Scored) -> pd.DataFrame:
        """The rows of nulls.csv: of images whose own map could be scored by some measure."""
        at = [(key, measure.name, null.name) for key in self.keys for null in self.nulls for measure in self.on_maps]
        return self._long(evidence, scored, at, nulls=True)

    def _long(
        self, evidence: Evidence, scored: Scored, at: Sequence[tuple[Key, str, str]], *, nulls: bool
    ) -> pd.DataFrame:
        count = len(evidence)
        images = np.array([photo.image for photo in evidence.photos], dtype=object)
        parts: dict[str, list[np.ndarray]] = {name: [] for name in tables.NULLS}
        for key, measure, null in at:
            cells = {
                "image": images,
                "model": np.full(count, key.model, object),
                "block": np.full(count, key.block, object),
                "null": np.full(count, null, object),
                "measure": np.full(count, measure, object),
                "value": scored.values[key, measure, null],
                "status": scored.statuses[key, measure, null],
            }
            for name in tables.NULLS:
                parts[name].append(cells[name])
        table = pd.DataFrame({name: _interleaved(each) for name, each in parts.items()})
        if not nulls:
            return table.drop(columns="null")
        reached = {
            key.model: self._reasons(evidence, model) == "ok"
            for model in self.models
            for key in self.keys
            if key.model == model.name
        }
        keep = _interleaved([reached[key.model] for key, _, _ in at]) if at else np.empty(0, bool)
        return table[keep.astype(bool)]


def _interleaved(parts: Sequence[np.ndarray]) -> np.ndarray:
    """K arrays (N,) -> (N * K,): all K of the first image, then of the second ..."""
    return np.stack(parts, axis=1).ravel() if len(parts) else np.empty(0, object)
