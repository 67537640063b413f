"""Decodes ahead of the network: workers turn samples into frames and masks, which become batches in a fixed order.

Each image is decoded once; every geometry's frame and mask are made from it in the worker, so that photos and full-size
masks do not travel, except a photo on which a finder has to look first. Whatever goes wrong with one image becomes its
status; memory does not grow with the data set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from das_explain.batches.ahead import fill_regions, in_a_thread
from das_explain.batches.workers import PREFETCH, default_workers, killed_workers_told, read_ahead
from das_explain.data.geometry import Geometry
from das_explain.data.images import full_size
from das_explain.errors import one_line
from das_explain.statuses import UNREAD
from das_explain.types import Progress, Region, Sample, no_progress

if TYPE_CHECKING:
    from das_explain.data.sources import Source
    from das_explain.segment import Segmenter


@dataclass
class Batch:
    """N samples as the network sees them. ``frames`` and ``masks`` have one entry per ``Geometry.key``.

    ``statuses[i]`` is ``ok``, ``unreadable`` (the frame is black), or the region's status, and ``messages[i]`` says in
    one line what was wrong, else is empty. ``regions[i]`` has lost its full-size masks (``mask=None``) but keeps status
    and detail, with ``area``, the share of the photo that the object covers. ``sizes[i]`` is (width, height) of the
    upright photo, (0, 0) if it was unreadable. Without a segmenter ``masks`` is empty and no region is looked for.
    ``alternatives[i]``: other masks of the same frames that a finder offers, (geometry's key, name) -> bool (H, W).
    """

    samples: list[Sample]
    frames: dict[str, torch.Tensor] = field(default_factory=dict)  # uint8 (N, 3, H, W), RGB, channels last in memory
    masks: dict[str, torch.Tensor] = field(default_factory=dict)  # bool (N, H, W), all false where there is no region
    regions: list[Region] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    alternatives: list[dict[tuple[str, str], np.ndarray]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.samples)

    def readable(self) -> tuple[list[int], Batch]:
        """The positions of the samples that a network can be shown, and the batch of them alone, with one index."""
        at = [position for position, status in enumerate(self.statuses) if status != "unreadable"]
        return at, self.take(at)

    def take(self, at: list[int]) -> Batch:
        """The batch of the samples at these positions."""
        if len(at) == len(self):
            return self
        lists = {
            name: getattr(self, name)
            for name in ("samples", "regions", "statuses", "messages", "sizes", "alternatives")
        }
        kept = {name: [values[i] for i in at] if values else [] for name, values in lists.items()}
        frames = {key: tensor[at] for key, tensor in self.frames.items()}
        return Batch(frames=frames, masks={key: tensor[at] for key, tensor in self.masks.items()}, **kept)

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, for copies to a GPU."""
        return replace(
            self,
            frames={key: tensor.pin_memory() for key, tensor in self.frames.items()},
            masks={key: tensor.pin_memory() for key, tensor in self.masks.items()},
        )


def load_batches(
    source: Source,
    samples: Sequence[Sample] | Sequence[Sequence[Sample]],
    geometries: Sequence[Geometry],
    segmenter: Segmenter | None = None,
    *,
    batch_size: int = 8,
    workers: int | None = None,
    finding: Progress = no_progress,
    ahead: bool = False,
) -> Iterator[Batch]:
    """Yields the samples in batches, in order: ``batch_size`` at a time, or the batches given as a list of lists.

    ``workers`` is the number of decoding processes, 0 to decode in this one, ``None`` for ``default_workers()``, or 0 for
    a handful of photos; they start at once. Where the segmenter is a finder, masks that are not in its cache are made on
    the way: when a batch is asked for, or, with ``ahead``, in a thread that keeps up to ``PREFETCH`` batches before the networks. ``finding`` is
    told of it, see ``ahead.fill_regions``. Raises ``DasExplainError`` if a worker process itself is killed, and what
    the finder raises when it cannot work at all.
    """
    batches: Sequence[Sequence[Sample]] = samples
    if samples and isinstance(samples[0], Sample):
        batches = [samples[start : start + batch_size] for start in range(0, len(samples), batch_size)]
    order = [sample for batch in batches for sample in batch]
    longest = max(map(len, batches), default=0)
    decoder = _Decoder(source, list(dict.fromkeys(geometries)), segmenter)
    if segmenter is None or not segmenter.needs_networks:
        return _stacked(read_ahead(decoder, order, workers, ahead=PREFETCH * longest), batches, decoder)
    # Photos may travel here: one batch of them in all, however many workers there are.
    usable = max(1, default_workers() if workers is None else workers)
    items = fill_regions(
        read_ahead(decoder, order, workers, ahead=-(-longest // usable)), segmenter, finding, len(order)
    )
    items = map(decoder.settled, items)
    return _stacked(in_a_thread(items, PREFETCH * longest) if ahead and order else items, batches, decoder)


def count_unread(source: Source, samples: Sequence[Sample], segmenter: Segmenter | None = None) -> int:
    """How many of the photos, or of their masks, cannot be read here and now. No network is asked."""
    decoder = _Decoder(source, [], segmenter)
    return sum(decoder[sample].status in UNREAD for sample in samples)


@dataclass
class _Shown:
    """One sample as the networks see it, on its way from a worker: arrays, since torch would put tensors into shared
    memory, of which containers have little (64 MB by default in Docker), and a worker that runs out of it dies without
    a word. ``photo`` is there where its ``region`` is still to be found.
    """

    sample: Sample
    frames: dict[str, np.ndarray] = field(default_factory=dict)  # uint8 (H, W, 3); none if it was unreadable
    masks: dict[str, np.ndarray] = field(default_factory=dict)  # bool (H, W); none without a mask
    alternatives: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)  # bool (H, W), by geometry and name
    region: Region | None = None
    status: str = "ok"
    message: str = ""
    size: tuple[int, int] = (0, 0)
    photo: Image.Image | None = None


class _Decoder:
    """sample -> _Shown, in a worker."""

    def __init__(self, source: Source, geometries: list[Geometry], segmenter: Segmenter | None) -> None:
        self.source, self.geometries, self.segmenter = source, geometries, segmenter

    def __getitem__(self, sample: Sample) -> _Shown:
        shown = _Shown(sample, region=Region(None, "no_mask"))
        try:
            image = self.source.read(sample)
            shown.frames = {each.key: each.frame(image) for each in self.geometries}
            shown.size = full_size(image)
        except Exception as error:  # one image never stops a run
            shown.status, shown.message = "unreadable", one_line(error)
            return shown
        if self.segmenter is not None:
            try:
                shown.region = self.segmenter.region(sample, image)
                if shown.region is None:
                    shown.photo = image
                else:
                    self._frame(shown, image.size)
            except Exception as error:
                shown.status, shown.message, shown.masks = "mask_unreadable", one_line(error), {}
                shown.region = Region(None, shown.status, {"message": shown.message})
        return shown

    def settled(self, shown: _Shown) -> _Shown:
        """The same without the photo, once the region is known that it was kept for."""
        if shown.photo is not None:
            self._frame(shown, shown.photo.size)
            shown.photo = None
        return shown

    def _frame(self, shown: _Shown, size: tuple[int, int]) -> None:
        """Takes what the networks need from the region of a decoded photo of ``size`` (width, height)."""
        region = shown.region
        shown.status, shown.message = region.status, region.detail.get("message", "")
        if region.mask is None:
            return
        if region.mask.shape != size[::-1]:
            raise ValueError(f"a mask of shape {region.mask.shape} for a photo of {size[0]} x {size[1]}")
        shown.masks = {each.key: each.frame_mask(region.mask) for each in self.geometries}
        shown.alternatives = {
            (each.key, name): each.frame_mask(mask)
            for each in self.geometries
            for name, mask in region.alternatives.items()
        }
        area = round(np.count_nonzero(region.mask) / region.mask.size, 6)
        shown.region = Region(None, region.status, {**region.detail, "area": area})


def _stacked(items: Iterator[_Shown], batches: Sequence[Sequence[Sample]], decoder: _Decoder) -> Iterator[Batch]:
    """The items as batches of the given lengths."""
    with killed_workers_told():
        for samples in batches:
            batch = _batch(list(islice(items, len(samples))), decoder)
            yield batch.pin_memory() if torch.cuda.is_available() else batch


def _batch(rows: list[_Shown], decoder: _Decoder) -> Batch:
    batch = Batch(
        [shown.sample for shown in rows],
        regions=[shown.region for shown in rows],
        statuses=[shown.status for shown in rows],
        messages=[shown.message for shown in rows],
        sizes=[shown.size for shown in rows],
        alternatives=[shown.alternatives for shown in rows],
    )
    for geometry in decoder.geometries:
        frames = np.zeros((len(rows), *geometry.size, 3), np.uint8)
        masks = np.zeros((len(rows), *geometry.size), bool)
        for row, shown in enumerate(rows):
            frames[row] = shown.frames.get(geometry.key, 0)
            masks[row] = shown.masks.get(geometry.key, False)
        batch.frames[geometry.key] = torch.from_numpy(frames).permute(0, 3, 1, 2)  # the layout networks are quickest on
        if decoder.segmenter is not None:
            batch.masks[geometry.key] = torch.from_numpy(masks)
    return batch
