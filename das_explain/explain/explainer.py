"""One batch of photos and all models -> evidence: one forward and one backward pass per model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from das_explain.batches.ahead import can_overlap
from das_explain.batches.load import Batch, load_batches
from das_explain.cam.maps import Maps, join_maps
from das_explain.cam.methods import explain_with
from das_explain.data.sources import Source
from das_explain.evidence.codec import jpeg
from das_explain.evidence.values import BlockMaps, Evidence, Key, Photo, keep_logits
from das_explain.explain.contestants import Contest, Contestant, ExplainOptions
from das_explain.explain.faithfulness import measure_faithfulness, measure_nulls
from das_explain.explain.fitting import Fitting
from das_explain.explain.null_maps import NullMaps
from das_explain.segment import Segmenter
from das_explain.types import Progress, Sample, no_progress


class Explainer:
    """Explains photos with the models of a contest. Neither measures nor nulls are known here."""

    def __init__(self, contest: Contest, options: ExplainOptions) -> None:
        self.contest = contest
        self.options = options
        self.fitting = Fitting()
        self._inputs = Inputs()

    def batches(
        self,
        source: Source,
        samples: Sequence[Sample] | Sequence[Sequence[Sample]],
        segmenter: Segmenter | None,
        *,
        batch: int = 16,
        workers: int | None = None,
        finding: Progress = no_progress,
    ) -> Iterator[Batch]:
        """The samples in every model's geometry, with masks found ahead where that does not slow the networks down."""
        ahead = can_overlap(segmenter, self.contest.contestants[0].device)
        return load_batches(
            source,
            samples,
            self.contest.geometries,
            segmenter,
            batch_size=batch,
            workers=workers,
            finding=finding,
            ahead=ahead,
        )

    def explain(self, batch: Batch, targets: Tensor | None = None, *, frames: bool = True) -> Evidence:
        """The evidence of a batch; ``frames=False`` leaves the pictures out.

        ``targets`` int64 (readable photos,): the logits to explain, of every model; default: as the options say.
        """
        shown, seen = batch.readable()
        evidence = Evidence(
            photos=[_photo(batch, position) for position in range(len(batch))],
            shown=np.array(shown, dtype=np.int64),
            geometries={each.name: each.geometry for each in self.contest.contestants},
            sizes={geometry.key: geometry.size for geometry in self.contest.geometries},
            frames={key: [jpeg(frame) for frame in pixels(seen, key)] for key in seen.frames} if frames else {},
            masks={key: masks.numpy() for key, masks in seen.masks.items()},
            maps={},
            logits={},
            alternatives=_alternatives(seen),
        )
        if not shown:
            return evidence
        for contestant in self.contest.contestants:
            explanation = self.explain_model(contestant, seen, targets)
            target = explanation.target.cpu().numpy()
            evidence.logits[contestant.name] = keep_logits(
                explanation.logits.cpu().numpy(), target, contestant.model.activation
            )
            for block, cam in explanation.cams.items():
                maps = BlockMaps(cam.native.float().cpu().numpy(), cam.raw_max.float().cpu().numpy())
                evidence.maps[Key(contestant.name, block)] = maps
            if self.options.measures:
                evidence.measured |= measure_faithfulness(contestant, seen, explanation, self.options, self.fitting)
        return evidence

    def ask(self, batch: Batch, start: int, fakes: NullMaps) -> int:
        """Asks the networks about null maps on the batch, whose first sample is the ``start``-th of the evidence of
        ``fakes``, and puts the answers there. Photos without a region have no answer, nor have those that can no longer
        be read, which are counted."""
        evidence = fakes.evidence
        words = [photo.status if evidence.masks else "no_mask" for photo in evidence.photos]
        words = [words[place] for place in evidence.shown]
        here = np.flatnonzero((evidence.shown >= start) & (evidence.shown < start + len(batch)))
        at = {int(row): int(evidence.shown[row]) - start for row in here}
        wanted = [row for row in at if words[row] == "ok"]
        rows = [row for row in wanted if batch.statuses[at[row]] != "unreadable"]
        if not rows:
            return len(wanted)
        seen = batch.take([at[row] for row in rows])
        for contestant in self.contest.contestants:
            target = torch.from_numpy(evidence.logits[contestant.name].target[rows].astype(np.int64))
            asked = measure_nulls(
                contestant,
                seen,
                target.to(contestant.device),
                fakes.of(contestant, np.array(rows)),
                self.options,
                self.fitting,
            )
            for key, (values, status) in asked.items():
                nothing = np.full(len(words), np.nan), ["unreadable" if word == "ok" else word for word in words]
                every, said = evidence.nulls.setdefault(key, nothing)
                every[rows] = values
                for row, word in zip(rows, status, strict=True):
                    said[row] = word
        return len(wanted) - len(rows)

    def explain_model(self, contestant: Contestant, seen: Batch, targets: Tensor | None = None) -> Maps:
        """One model's maps of a batch of readable photos; ``targets`` int64 (n,): the logits to explain."""
        images = self._inputs.of(contestant, seen)
        targets = wanted_targets(contestant, seen, self.options) if targets is None else targets
        bf16 = self.options.precision == "bf16"

        def explain_part(rows: slice) -> Maps:
            with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=bf16):
                return explain_with(
                    self.options.method,
                    contestant.network,
                    images[rows],
                    targets[rows],
                    contestant.blocks,
                    layouts=contestant.model.layouts,
                    alone=contestant.model.alone,
                )

        return join_maps(self.fitting.in_parts(len(images), explain_part))


class Inputs:
    """What networks are given for the batch at hand; models that want the same share it."""

    def __init__(self) -> None:
        self._batch: Batch | None = None
        self._images: dict[tuple[Any, ...], tuple[Tensor, int]] = {}

    def of(self, contestant: Contestant, seen: Batch) -> Tensor:
        """float32 (n, 3, H, W), on the model's device, channels last, which folded networks and GPUs are quickest on."""
        if seen is not self._batch:
            self._batch, self._images = seen, {}
        preprocess = contestant.model.preprocess
        key = (preprocess, contestant.device)
        images, version = self._images.get(key, (None, 0))
        if images is None or images._version != version:  # a network that writes over its input spoils it for others
            frames = seen.frames[contestant.geometry].to(contestant.device, non_blocking=True)
            images = preprocess.normalize(frames).contiguous(memory_format=torch.channels_last)
            self._images[key] = images, images._version
        return images


def wanted_targets(contestant: Contestant, seen: Batch, options: ExplainOptions) -> Tensor:
    """The logits to explain, int64 (n,), on the model's device.

    -1: no label, or none that this model knows; its prediction is explained instead (and said in the row).
    """
    if options.target == "label":
        wanted = [contestant.logit.get(sample.label or "", -1) for sample in seen.samples]
    else:
        wanted = [-1 if contestant.target is None else contestant.target] * len(seen)
    return torch.tensor(wanted, device=contestant.device)


def pixels(batch: Batch, geometry: str) -> np.ndarray:
    """The frames of a geometry, uint8 (N, H, W, 3)."""
    return batch.frames[geometry].permute(0, 2, 3, 1).numpy()


def _alternatives(seen: Batch) -> dict[tuple[str, str], np.ndarray]:
    """Other masks of the readable photos, by geometry and name: bool (n, H, W), all false where a photo has none."""
    found: dict[tuple[str, str], np.ndarray] = {}
    for row, masks in enumerate(seen.alternatives):
        for key, mask in masks.items():
            found.setdefault(key, np.zeros((len(seen), *mask.shape), bool))[row] = mask
    return found


def _photo(batch: Batch, position: int) -> Photo:
    sample, (width, height) = batch.samples[position], batch.sizes[position]
    return Photo(
        index=sample.index,
        image=sample.name,
        label=sample.label,
        status=batch.statuses[position],
        message=batch.messages[position],
        width=width,
        height=height,
        region=batch.regions[position].detail,
    )
