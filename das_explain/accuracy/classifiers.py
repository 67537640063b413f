"""Top-1 and top-5 accuracy of classifiers on a data set, with intervals, by class, and paired between models.

(``evaluate`` is the loop of ``sfd``; this is what ``das-explain evaluate`` measures.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy.special import ndtri

from das_explain.evidence.values import keep_logits
from das_explain.files import six_digits
from das_explain.stats.intervals import CONFIDENCE, wilson
from das_explain.stats.significance import holm, mcnemar_p_value

if TYPE_CHECKING:
    from das_explain.batches.load import Batch
    from das_explain.explain.contestants import Contestant
    from das_explain.types import Progress

PREDICTIONS = ("image", "model", "label", "predicted", "confidence", "rank", "status", "message")
"""Columns of a row per image and model. ``rank``: the label's place among the classes, 1 is the highest logit.
``status``: ``ok``, ``unreadable``, ``unlabelled``, ``unknown_label`` (no class of the model) or ``nonfinite`` (the
logits are). Accuracies are over the rows that are ``ok``."""
K = 5


def predict(
    contestants: Sequence[Contestant], batches: Iterable[Batch], count: int, progress: Progress = lambda done, of: None
) -> Iterator[dict[str, Any]]:
    """Yields a row of ``PREDICTIONS`` per image and model; ``count`` is the number of images."""
    done = 0
    for batch in batches:
        readable, seen = batch.readable()
        logits = [_logits(contestant, seen) for contestant in contestants]
        row = dict(zip(readable, range(len(readable))))
        for position in range(len(batch)):
            for contestant, values in zip(contestants, logits):
                yield _row(contestant, batch, position, values[row[position]] if position in row else None)
        done += len(batch)
        progress(done, count)


@torch.inference_mode()
def _logits(contestant: Contestant, batch: Batch) -> np.ndarray:
    """float32 (readable images, classes)."""
    if not len(batch):
        return np.empty((0, 0), np.float32)
    device = next(contestant.network.parameters()).device
    frames = batch.frames[contestant.geometry].to(device, non_blocking=True)
    images = contestant.model.preprocess.normalize(frames).contiguous(memory_format=torch.channels_last)
    return contestant.answering(images).float().cpu().numpy()


def _row(contestant: Contestant, batch: Batch, position: int, logits: np.ndarray | None) -> dict[str, Any]:
    sample = batch.samples[position]
    row = dict.fromkeys(PREDICTIONS) | {"image": sample.name, "model": contestant.name, "label": sample.label}
    if logits is None:
        return row | {"status": "unreadable", "message": batch.messages[position]}
    if not np.isfinite(logits).all():
        return row | {"status": "nonfinite"}
    top = int(logits.argmax())  # of equals the first
    confidence = keep_logits(logits[None], np.array([top]), contestant.model.activation).confidence[0]
    row |= {"predicted": contestant.class_name(top), "confidence": six_digits(confidence)}
    if sample.label is None:
        return row | {"status": "unlabelled"}
    if sample.label not in contestant.logit:
        return row | {"status": "unknown_label"}
    target = contestant.logit[sample.label]
    ahead = (logits > logits[target]).sum() + (logits[:target] == logits[target]).sum()
    return row | {"rank": int(ahead) + 1, "status": "ok"}


def accuracy_table(predictions: pd.DataFrame, classes: dict[str, int]) -> pd.DataFrame:
    """Per model: ``model, n, top1, top1_low, top1_high, top5, top5_low, top5_high``, fractions with Wilson's 95 % interval.

    ``classes``: model -> number of its classes. Top-5 is empty where they are five or fewer: it would be 1.
    """
    scored = _keep_scored(predictions)
    return pd.DataFrame(
        [
            {"model": model, **_accuracies(scored.loc[scored["model"] == model, "rank"], count > K)}
            for model, count in classes.items()
        ]
    )


def class_table(predictions: pd.DataFrame, classes: dict[str, int]) -> pd.DataFrame:
    """Per model and class of the data: as ``accuracy_table``, and ``confused_with``, the most frequent wrong prediction
    (of equals the first by name), with its count ``confused_n``; empty where none is wrong.
    """
    rows = []
    for (model, label), mine in _keep_scored(predictions).groupby(["model", "label"], sort=False):
        wrong = mine.loc[mine["rank"] > 1, "predicted"].value_counts()
        worst = min(wrong[wrong == wrong.max()].index) if len(wrong) else None
        about = {"confused_with": worst, "confused_n": int(wrong.max()) if len(wrong) else 0}
        rows.append({"model": model, "label": label, **_accuracies(mine["rank"], classes[model] > K), **about})
    order = {model: place for place, model in enumerate(classes)}
    return pd.DataFrame(sorted(rows, key=lambda row: (order[row["model"]], row["label"])))


def comparison_table(predictions: pd.DataFrame, models: Sequence[str]) -> pd.DataFrame:
    """Pairs of models on the images scored for both: ``model_a, model_b, n, top1_a, top1_b, difference, ci_low, ci_high,
    only_a, only_b, p_value, p_adjusted``.

    ``difference`` is b - a; its 95 % interval is the adjusted Wald interval for paired proportions of Bonett and Price
    (2012), built around (only_b - only_a) / (n + 2). ``only_a`` counts the images that a alone has right. ``p_value`` is
    McNemar's, exact and two-sided (binomial); ``p_adjusted`` Holm's over the pairs.
    """
    scored = _keep_scored(predictions)
    right = scored.assign(right=scored["rank"] == 1).pivot(index="image", columns="model", values="right")
    rows = [_compare_pair(a, b, right) for a, b in combinations(models, 2)]
    if rows:
        adjusted = holm(np.array([np.nan if row["p_value"] is None else row["p_value"] for row in rows]))
        rows = [row | {"p_adjusted": None if np.isnan(p) else float(p)} for row, p in zip(rows, adjusted)]
    return pd.DataFrame(rows)


def _compare_pair(a: str, b: str, right: pd.DataFrame) -> dict[str, Any]:
    both = right.reindex(columns=[a, b]).dropna().astype(bool)
    n, only_a, only_b = len(both), int((both[a] & ~both[b]).sum()), int((both[b] & ~both[a]).sum())
    row: dict[str, Any] = {"model_a": a, "model_b": b, "n": n}
    if not n:
        empty = ("top1_a", "top1_b", "difference", "ci_low", "ci_high")
        return {**row, **dict.fromkeys(empty), "only_a": 0, "only_b": 0, "p_value": None}
    p_a, p_b = (only_a + 1) / (n + 2), (only_b + 1) / (n + 2)
    reach = ndtri((1 + CONFIDENCE) / 2) * np.sqrt((p_a + p_b - (p_b - p_a) ** 2) / (n + 2))
    return {
        **row,
        "top1_a": float(both[a].mean()),
        "top1_b": float(both[b].mean()),
        "difference": (only_b - only_a) / n,
        "ci_low": float(p_b - p_a - reach),
        "ci_high": float(p_b - p_a + reach),
        "only_a": only_a,
        "only_b": only_b,
        "p_value": mcnemar_p_value(only_b, only_a),
    }


def _accuracies(ranks: pd.Series, with_top5: bool) -> dict[str, Any]:
    n, row = len(ranks), {"n": len(ranks)}
    for name, k in (("top1", 1), ("top5", K)):
        if n and (k == 1 or with_top5):
            right = int((ranks <= k).sum())
            low, high = wilson(right, n)
            row |= {name: right / n, f"{name}_low": low, f"{name}_high": high}
        else:
            row |= {name: None, f"{name}_low": None, f"{name}_high": None}
    return row


def _keep_scored(predictions: pd.DataFrame) -> pd.DataFrame:
    return predictions.loc[predictions["status"] == "ok"].astype({"rank": int})
