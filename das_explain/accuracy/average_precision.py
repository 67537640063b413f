"""COCO's average precision of boxes, through pycocotools, with intervals from resampled images.

AP is the area under a precision-recall curve over all images together, so it is no mean over images. The bootstrap draws
images with replacement and makes the curves of what was drawn anew; pycocotools' matches of detections to objects are
made within an image and stay as they are.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from das_explain.errors import missing_package

if TYPE_CHECKING:
    from das_explain.data.coco.objects import ObjectDataset
    from das_explain.types import Progress, Sample

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
"""The columns of DAS Table 2: the mean over IoU 0.50:0.05:0.95, at 0.5, at 0.75; of small (below 32 x 32 pixels),
medium and large (96 x 96 and more) objects."""
PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class AveragePrecision:
    """Of one detector on one set of images.

    ``values``: metric -> AP in 0..1, ``None`` where no object is of that kind. ``classes``: category id -> the same.
    ``resampled``: float (draws, metrics), NaN where a draw has no such object.
    """

    values: dict[str, float | None]
    classes: dict[Any, dict[str, float | None]]
    resampled: np.ndarray

    def interval(self, metric: str) -> tuple[float | None, float | None]:
        """95 % percentile bootstrap over images; ``(None, None)`` without draws."""
        return percentiles(self.resampled[:, METRICS.index(metric)])


def percentiles(values: np.ndarray) -> tuple[float | None, float | None]:
    """The middle 95 % of the draws that have a value."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None, None
    low, high = np.percentile(known, PERCENTILES)
    return float(low), float(high)


def average_precision(
    data: ObjectDataset,
    samples: Sequence[Sample],
    detections: Sequence[dict[str, Any]],
    *,
    draws: int = 0,
    seed: int = 0,
    progress: Progress = lambda done, of: None,
) -> AveragePrecision:
    """AP of ``detections`` (COCO's results format) on ``samples``; crowds are ignored as pycocotools does.

    Args:
        draws: bootstrap samples. Two detectors on the same samples with the same ``seed`` are resampled alike, so that
            the difference of their ``resampled`` is paired.
    """
    evaluator = coco_eval()
    with contextlib.redirect_stdout(io.StringIO()):  # it reports every step
        truth, found = _truth(data, samples), _index(data, samples, [_result(each) for each in detections])
        scorer = evaluator(truth, found, "bbox")
        scorer.params.imgIds = [data.image_id(sample) for sample in samples]
        scorer.evaluate()
        scorer.accumulate()
        precision = scorer.eval["precision"]
        classes = {number: _metrics(precision[:, :, k : k + 1]) for k, number in enumerate(scorer.params.catIds)}
        resampled = _bootstrap(scorer, draws, seed, progress)
    return AveragePrecision(_metrics(precision), classes, resampled)


def coco_eval() -> Any:
    """pycocotools' COCOeval, or the error that names the extra to install: to be asked before the long work."""
    try:
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise missing_package("pycocotools", "detection", "COCO AP") from None
    return COCOeval


def _metrics(precision: np.ndarray) -> dict[str, float | None]:
    """From COCOeval's (IoU thresholds, recalls, categories, areas, detections per image); -1 means no such object."""
    parts = (
        precision[:, :, :, 0, -1],
        precision[:1, :, :, 0, -1],
        precision[5:6, :, :, 0, -1],
        *(precision[:, :, :, area, -1] for area in (1, 2, 3)),
    )
    known = (part[part > -1] for part in parts)
    return {name: float(part.mean()) if part.size else None for name, part in zip(METRICS, known)}


def _bootstrap(scorer: Any, draws: int, seed: int, progress: Progress) -> np.ndarray:
    """The metrics of images drawn with replacement: (draws, metrics)."""
    count, areas = len(scorer.params.imgIds), len(scorer.params.areaRng)
    # category by category, area by area, image by image; an image without objects and detections of a category is None
    matches = [
        scorer.evalImgs[start : start + count] for start in range(0, len(scorer.evalImgs) if draws else 0, count)
    ]
    curves = [_Curve(mine, scorer.params) for mine in matches]
    rng, resampled = np.random.default_rng(seed), np.empty((draws, len(METRICS)))
    for draw in range(draws):
        times = np.bincount(rng.integers(0, count, count), minlength=count)
        precision = np.stack([curve(times) for curve in curves], 2)  # (IoU thresholds, recalls, categories x areas)
        values = _metrics(precision.reshape(*precision.shape[:2], -1, areas, 1)).values()
        resampled[draw] = [np.nan if value is None else value for value in values]
        progress(draw + 1, draws)
    return resampled


class _Curve:
    """The precision-recall curve of a category and area for any multiplicity of the images.

    As ``COCOeval.accumulate`` makes it, whose loops would take hours for all draws; an image that was drawn twice gives
    two of each detection at the same place of the ranking.
    """

    def __init__(self, matches: Sequence[dict[str, Any] | None], params: Any) -> None:
        present = [(i, each) for i, each in enumerate(matches) if each is not None]
        self.recalls, self.shape = params.recThrs, (len(params.iouThrs), len(params.recThrs))
        self.objects = np.zeros(len(matches), np.int64)
        for i, each in present:
            self.objects[i] = np.count_nonzero(np.asarray(each["gtIgnore"]) == 0)
        if not present:
            return
        scores = np.concatenate([each["dtScores"] for _, each in present])
        order = np.argsort(-scores, kind="stable")
        self.image = np.repeat([i for i, _ in present], [len(each["dtScores"]) for _, each in present])[order]
        matched = np.concatenate([each["dtMatches"] for _, each in present], 1)[:, order] > 0
        counts = ~np.concatenate([each["dtIgnore"] for _, each in present], 1)[:, order].astype(bool)
        self.right, self.wrong = matched & counts, ~matched & counts  # (IoU thresholds, detections)

    def __call__(self, times: np.ndarray) -> np.ndarray:
        """``times`` each image counts, int (images,) -> precision at each IoU threshold and recall; -1: no object."""
        objects, precision = int(times @ self.objects), np.zeros(self.shape)
        if not objects:
            return precision - 1
        weight = times[self.image]
        right, wrong = (np.cumsum(each * weight, 1, dtype=float) for each in (self.right, self.wrong))
        ratio = right / (right + wrong + np.spacing(1))
        best = np.maximum.accumulate(ratio[:, ::-1], 1)[:, ::-1]  # the best precision at this recall or a higher one
        for row, recall, highest in zip(precision, right / objects, best):
            at = np.searchsorted(recall, self.recalls, side="left")
            reached = at < len(recall)
            row[reached] = highest[at[reached]]
        return precision


def _truth(data: ObjectDataset, samples: Sequence[Sample]) -> Any:
    annotations = [
        {
            "image_id": data.image_id(sample),
            "category_id": each["category_id"],
            "bbox": each["bbox"],
            # COCO's area is that of the outline; a file of boxes may have none
            "area": each.get("area", each["bbox"][2] * each["bbox"][3]),
            "iscrowd": int(each.get("iscrowd", 0)),
        }
        for sample in samples
        for each in data.objects(sample)
    ]
    return _index(data, samples, annotations)


def _result(detection: dict[str, Any]) -> dict[str, Any]:
    """As COCO.loadRes does, which refuses an empty list."""
    return {**detection, "area": detection["bbox"][2] * detection["bbox"][3], "iscrowd": 0}


def _index(data: ObjectDataset, samples: Sequence[Sample], annotations: list[dict[str, Any]]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {
        "images": [{"id": data.image_id(sample)} for sample in samples],
        "categories": [{"id": number, "name": name} for number, name in data.categories.items()],
        "annotations": [{**each, "id": i + 1} for i, each in enumerate(annotations)],  # COCOeval takes 0 for no match
    }
    coco.createIndex()
    return coco
