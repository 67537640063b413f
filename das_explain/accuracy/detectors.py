"""Detectors as model directories (``"task": "detection"`` in ``config.json``), and what they find in photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from das_explain.batches.workers import read_ahead
from das_explain.checkpoint.config import CONFIG
from das_explain.checkpoint.layouts import task_of_folder
from das_explain.checkpoint.load import about, prepare_network
from das_explain.checkpoint.sources import OPENERS
from das_explain.checkpoint.spec import parse_spec
from das_explain.devices import find_device
from das_explain.errors import DasExplainError, UsageError, one_line

if TYPE_CHECKING:
    from das_explain.data.coco.objects import ObjectDataset, ObjectReader
    from das_explain.types import Progress, Sample

BACKGROUND = "__background__"
"""The name of class 0, as in torchvision's own lists of categories."""


@dataclass
class LoadedDetector:
    """A detector, in eval mode on its device; ``labels[0]`` is the background. Else as ``LoadedModel``."""

    name: str
    spec: str
    network: nn.Module
    labels: list[str]
    fingerprint: str
    config: dict[str, Any] = field(default_factory=dict)


def load_detector(spec: str, *, name: str | None = None, device: str | torch.device | None = None) -> LoadedDetector:
    """Loads a detector from a model directory or the Hub, strictly, in float32; arguments as ``load_model``'s.

    Raises:
        UsageError: the spec names no detector.
        DasExplainError: the weights cannot be had, or are not those of the network; the classes have no names.
    """
    parsed = parse_spec(spec, name)
    if parsed.kind not in ("directory", "hf"):
        raise UsageError(f'{parsed.text}: a detector is a model directory ("task": "detection" in its config.json)')
    target = find_device(device)
    opened = OPENERS[parsed.kind](parsed)
    if opened.task != "detection":
        raise UsageError(f"{parsed.text} is a classifier; COCO AP is for detectors, photos in classes are for it")
    if opened.labels is None:
        raise DasExplainError(f"{parsed.text}: its config.json names no classes (labels), so no box can be matched")
    network, mark = prepare_network(opened, parsed, target)
    return LoadedDetector(
        name=parsed.name,
        spec=parsed.text,
        network=network,
        labels=list(opened.labels),
        fingerprint=mark,
        config={"task": "detection", **about(opened, parsed)},
    )


def is_detector(spec: str) -> bool:
    """Whether a model spec names a detector; a directory's config is all that is read to tell."""
    parsed = parse_spec(spec)
    if parsed.kind == "directory" and (Path(parsed.target) / CONFIG).is_file():
        return task_of_folder(Path(parsed.target)) == "detection"
    return parsed.kind == "hf" and OPENERS["hf"](parsed).task == "detection"


def category_ids(detector: LoadedDetector, data: ObjectDataset) -> dict[int, Any]:
    """Class number of the detector -> category id of the data, by name; classes that the data has not are left out.

    Raises:
        DasExplainError: not one name is in both.
    """
    ids = {name: number for number, name in data.categories.items()}
    found = {number: ids[name] for number, name in enumerate(detector.labels) if number and name in ids}
    if not found:
        theirs, ours = ", ".join(list(ids)[:3]), ", ".join(detector.labels[1:4])
        raise DasExplainError(f"no category of {data.spec} ({theirs} ...) is a class of {detector.name} ({ours} ...)")
    return found


def detect(
    detectors: Sequence[LoadedDetector],
    data: ObjectDataset,
    samples: Sequence[Sample],
    *,
    workers: int | None = None,
    progress: Progress = lambda done, of: None,
) -> Iterator[tuple[Sample, str, list[list[dict[str, Any]]]]]:
    """Runs detectors over photos, each read once and shown by itself: in a batch it would be padded to the largest, and
    what is found in it would depend on the others.

    Yields:
        For each sample in order: the sample; ``""``, or in one line why it could not be read; for each detector what
        it found, as COCO's results format has it: ``image_id, category_id, bbox`` (x, y, width, height in pixels of
        the photo) and ``score``, of the categories that the data has.
    """
    ids = [category_ids(detector, data) for detector in detectors]
    frames = read_ahead(_Reader(data.reader), samples, workers)
    for done, (sample, (frame, message)) in enumerate(zip(samples, frames), 1):
        found: list[list[dict[str, Any]]] = [[] for _ in detectors]
        if frame is not None:
            number = data.image_id(sample)
            found = [_results(_run(each.network, frame), known, number) for each, known in zip(detectors, ids)]
        yield sample, message, found
        progress(done, len(samples))


class _Reader:
    """sample -> uint8 (H, W, 3) or ``None``, and what was wrong, in a worker."""

    def __init__(self, reader: ObjectReader) -> None:
        self.reader = reader

    def __getitem__(self, sample: Sample) -> tuple[np.ndarray | None, str]:
        try:
            return np.array(self.reader.read(sample)), ""
        except DasExplainError as error:  # one image never stops a run
            return None, one_line(error)


@torch.inference_mode()
def _run(network: nn.Module, frame: np.ndarray) -> dict[str, Tensor]:
    device = next(network.parameters()).device
    (found,) = network([torch.from_numpy(frame).to(device).permute(2, 0, 1).float() / 255])
    return {key: value.cpu() for key, value in found.items()}


def _results(found: dict[str, Tensor], known: dict[int, Any], image_id: Any) -> list[dict[str, Any]]:
    boxes = found["boxes"].double()
    boxes[:, 2:] -= boxes[:, :2]
    rows = zip(boxes.tolist(), found["labels"].tolist(), found["scores"].tolist())
    return [
        {"image_id": image_id, "category_id": known[label], "bbox": box, "score": score}
        for box, label, score in rows
        if label in known
    ]
