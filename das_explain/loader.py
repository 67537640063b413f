"""Decodes ahead of the network: workers turn samples into batches of frames and masks, in a fixed order.

Each image is decoded once; every geometry's frame and mask are made from it in the worker, so that neither photos nor
full-size masks travel. Whatever goes wrong with one image becomes its status; memory does not grow with the data set.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from das_explain.errors import DasExplainError
from das_explain.imageio import full_size
from das_explain.preprocess import Geometry
from das_explain.types import Region, Sample

if TYPE_CHECKING:
    from das_explain.data import Dataset
    from das_explain.segment import Segmenter
    from das_explain.sources import Source

PREFETCH = 2  # batches ahead, per worker


@dataclass
class Batch:
    """N samples as the network sees them. ``frames`` and ``masks`` have one entry per ``Geometry.key``.

    ``statuses[i]`` is ``ok``, ``unreadable`` (the frame is black), or the region's status, and ``messages[i]`` says in
    one line what was wrong, else is empty. ``regions[i]`` has lost its full-size mask (``mask=None``) but keeps status
    and detail, with ``area``, the share of the photo that the object covers. ``sizes[i]`` is (width, height) of the
    upright photo, (0, 0) if it was unreadable. Without a segmenter ``masks`` is empty and no region is looked for.
    """

    samples: list[Sample]
    frames: dict[str, torch.Tensor] = field(default_factory=dict)  # uint8 (N, 3, H, W), RGB
    masks: dict[str, torch.Tensor] = field(default_factory=dict)  # bool (N, H, W), all false where there is no region
    regions: list[Region] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.samples)

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, for copies to a GPU."""
        return replace(
            self,
            frames={key: tensor.pin_memory() for key, tensor in self.frames.items()},
            masks={key: tensor.pin_memory() for key, tensor in self.masks.items()},
        )

    # Between processes tensors go by value: torch would put them into shared memory, of which containers have little
    # (64 MB by default in Docker), and a worker that runs out of it dies without a word.
    def __getstate__(self) -> dict[str, Any]:
        arrays = {"frames": self.frames, "masks": self.masks}
        return {**vars(self), **{name: {k: t.numpy() for k, t in each.items()} for name, each in arrays.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.frames = {key: torch.from_numpy(array) for key, array in self.frames.items()}
        self.masks = {key: torch.from_numpy(array) for key, array in self.masks.items()}


def load_batches(
    dataset: Dataset,
    samples: Sequence[Sample] | Sequence[Sequence[Sample]],
    geometries: Sequence[Geometry],
    segmenter: Segmenter | None = None,
    *,
    batch_size: int = 8,
    workers: int | None = None,
) -> Iterator[Batch]:
    """Yields the samples in batches, in order: ``batch_size`` at a time, or the batches given as a list of lists.

    ``workers`` is the number of decoding processes, 0 to decode in this one, ``None`` for ``default_workers()``. Raises
    ``DasExplainError`` only if a worker process itself is killed.
    """
    batches: Sequence[Sequence[Sample]] = samples  # type: ignore[assignment]
    if samples and isinstance(samples[0], Sample):
        batches = [samples[start : start + batch_size] for start in range(0, len(samples), batch_size)]
    # The "index" of a batch is its samples: workers hold no list of them.
    yield from read_ahead(_Decoder(dataset.source, list(dict.fromkeys(geometries)), segmenter), batches, workers)


def read_ahead(reader: Any, order: Sequence[Any], workers: int | None = None) -> Iterator[Any]:
    """Yields ``reader[item]`` for the items of ``order``, in order, computed ahead in ``workers`` processes.

    ``workers`` as in ``load_batches``. Raises ``DasExplainError`` if one of them is killed, and what the reader raises.
    """
    workers = min(default_workers() if workers is None else workers, len(order))
    loader = DataLoader(
        _Told(reader),
        sampler=order,  # type: ignore[arg-type]
        batch_size=None,
        num_workers=workers,
        collate_fn=_as_it_is,
        worker_init_fn=_prepare_worker,
        prefetch_factor=PREFETCH if workers else None,
        pin_memory=torch.cuda.is_available(),
    )
    with one_opencv_thread() if workers else nullcontext():
        items_ahead = iter(loader)
    try:
        for item in items_ahead:
            if isinstance(item, DasExplainError):
                raise item
            yield item
    except RuntimeError as error:
        if "killed by signal" not in str(error) and "exited unexpectedly" not in str(error):
            raise
        raise DasExplainError(
            "a decoding worker was killed, probably for lack of memory: run the same command again with fewer --workers"
        ) from None


def available_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers() -> int:
    """Half of the processors this process may use, between 1 and 8; 0 if it may use only one."""
    usable = available_cpus()
    return 0 if usable == 1 else max(1, min(8, usable // 2))


class _Decoder:
    """samples of one batch -> Batch, in a worker."""

    def __init__(self, source: Source, geometries: list[Geometry], segmenter: Segmenter | None) -> None:
        self.source, self.geometries, self.segmenter = source, geometries, segmenter

    def __getitem__(self, samples: Sequence[Sample]) -> Batch:
        frames = {each.key: np.zeros((len(samples), *each.size, 3), np.uint8) for each in self.geometries}
        masks = {}
        if self.segmenter is not None:
            masks = {each.key: np.zeros((len(samples), *each.size), bool) for each in self.geometries}
        batch = Batch(list(samples))
        for row, sample in enumerate(samples):
            region, status, message, size = Region(None, "no_mask"), "ok", "", (0, 0)
            try:
                image = self.source.read(sample)
                views, size = {each.key: each.frame(image) for each in self.geometries}, full_size(image)
                for key, view in views.items():
                    frames[key][row] = view
            except Exception as error:  # one image never stops a run
                status, message = "unreadable", _one_line(error)
            if status == "ok" and self.segmenter is not None:
                region, views = self._region(sample, image)
                status, message = region.status, region.detail.get("message", "")
                for key, view in views.items():
                    masks[key][row] = view
            batch.regions.append(region)
            batch.statuses.append(status)
            batch.messages.append(message)
            batch.sizes.append(size)
        batch.frames = {key: torch.from_numpy(each).permute(0, 3, 1, 2).contiguous() for key, each in frames.items()}
        batch.masks = {key: torch.from_numpy(each) for key, each in masks.items()}
        return batch

    def _region(self, sample: Sample, image: Any) -> tuple[Region, dict[str, np.ndarray]]:
        """The region without its mask, and the mask as each geometry sees it."""
        try:
            region = self.segmenter.region(sample, image)
            if region.mask is None:
                return region, {}
            if region.mask.shape != (image.height, image.width):
                raise ValueError(f"a mask of shape {region.mask.shape} for a photo of {image.width} x {image.height}")
            views = {geometry.key: geometry.frame_mask(region.mask) for geometry in self.geometries}
            area = round(float(region.mask.mean()), 6)
            return Region(None, region.status, {**region.detail, "area": area}), views
        except Exception as error:
            return Region(None, "mask_unreadable", {"message": _one_line(error)}), {}


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, DasExplainError) else f"{type(error).__name__}: {text}".rstrip(": ")


class _Told(TorchDataset):
    """Hands a clear error over as an item: torch would wrap its message into a traceback."""

    def __init__(self, reader: Any) -> None:
        self.reader = reader

    def __getitem__(self, item: Any) -> Any:
        try:
            return self.reader[item]
        except DasExplainError as error:
            return error


def _as_it_is(item: Any) -> Any:
    return item


def _prepare_worker(_: int) -> None:
    """One thread in an OpenCV that the worker loads itself; torch's loader has done the same for torch."""
    os.environ["OPENCV_FOR_THREADS_NUM"] = "1"


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """While workers are forked, which inherit the setting (set in a worker it may wait for threads it lacks)."""
    cv2 = sys.modules.get("cv2")
    if cv2 is None:
        yield
        return
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
