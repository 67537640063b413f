"""Makes the folder of a run without any network: for tests of the report, and to look at it.

Photos and masks come from a callable, maps are blobs near the object or near the centre; evidence is written and scored
by the library, so that tables, evidence and pictures agree with each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from das_explain.data.geometry import Geometry, Preprocess
from das_explain.evidence.codec import encode, jpeg
from das_explain.evidence.run import Run
from das_explain.evidence.shards import shard_range
from das_explain.evidence.tables import MEASURES, NULLS, READINGS, SCORES, write_table
from das_explain.evidence.values import BlockMaps, Evidence, Key, Photo, keep_logits
from das_explain.scoring.all_values import AllValues
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.reading_table import NO_BACKGROUNDS, ZERO_CAMS
from das_explain.scoring.readings import BOXES, REGIONS, SCALINGS, THRESHOLDS
from das_explain.scoring.run import score_run
from das_explain.scoring.verdict import Centres, write_verdict_tables
from das_explain.stats.tables import compare, lift_over_nulls, summarize
from das_explain.types import Sample

SIDES = {"layer1": 8, "layer2": 8, "layer3": 14, "layer4": 7}


@dataclass(frozen=True)
class Item:
    """One image of a synthetic run. Unreadable ones were shown to no model; other statuses than ok have no region."""

    name: str
    label: str | None = "cat"
    status: str = "ok"
    message: str = ""
    region: dict[str, Any] = field(default_factory=lambda: {"source": "masks"})


def stripes(index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture of two colours with a disc in it, and the disc's mask: uint8 (H, W, 3), bool (H, W)."""
    y, x = np.mgrid[:height, :width]
    mask = (y - height * (0.4 + 0.05 * (index % 5))) ** 2 + (x - width / 2) ** 2 < (0.25 * min(height, width)) ** 2
    photo = np.where(mask[..., None], (220, 160, 40), (40, 90 + 10 * (index % 8), 120)).astype(np.uint8)
    return photo, mask


def blob(h: int, w: int, y: float, x: float, sigma: float, noise: np.ndarray) -> np.ndarray:
    """A Gaussian at (y, x), fractions of the frame, plus noise, scaled to [0, 1]: float (h, w)."""
    rows, columns = (np.arange(h) + 0.5) / h, (np.arange(w) + 0.5) / w
    value = np.exp(-((rows[:, None] - y) ** 2 + (columns[None] - x) ** 2) / (2 * sigma**2)) + noise
    value = np.clip(value - value.min(), 0, None)
    return value / value.max()


def make_run(
    folder: Path,
    items: Sequence[Item],
    *,
    models: Sequence[str] = ("plain", "das"),
    blocks: Sequence[str] = ("layer3", "layer4"),
    size: tuple[int, int] = (64, 64),
    sides: dict[str, int] = SIDES,
    photo: Callable[[int, int, int], tuple[np.ndarray, np.ndarray]] = stripes,
    second_size: tuple[int, int] | None = None,
    map_of: Callable[..., np.ndarray] | None = None,
    quick: bool = False,
    created: str = "2025-07-03T14:05:00+00:00",
    options: ScoreOptions | None = None,
    seed: int = 0,
) -> Path:
    """Writes a run's files to ``folder``. ``second_size``: another input size for the last model. ``map_of``: how a map is
    made, as ``blob`` is. ``quick``: random scores, which makes a thousand images a matter of seconds."""
    rng = np.random.default_rng(seed)
    first = Geometry(size=size, resize=round(min(size) * 8 / 7))
    other = Geometry(size=second_size, resize=min(second_size)) if second_size else first
    geometry = {model: other if model == models[-1] else first for model in models}
    labels = sorted({item.label for item in items if item.label is not None}) or ["cat"]
    manifest = {
        "command": ["das-explain", "sfd", "photos.csv", "--out", str(folder)],
        "seed": seed,
        "device": "cpu",
        "models": [
            {
                "name": model,
                "spec": f"models/{model}",
                "fingerprint": f"{number:064x}",
                "blocks": list(blocks),
                "preprocess": Preprocess(geometry[model]).to_config(),
                "labels": labels,
                "logit": {label: i for i, label in enumerate(labels)},
            }
            for number, model in enumerate(models)
        ],
        "groups": {model: [model] for model in models},
        "data": {"spec": "photos.csv", "fingerprint": "ab" * 32, "count": len(items), "stratified": False},
        "options": {"method": "gradcam", "target": "label", "precision": "fp32"},
        "segmenter": {"name": "masks"},
        "explaining_assumptions": [],
    }
    run = Run.start(folder, manifest, [Sample(item.name, i, item.label) for i, item in enumerate(items)])
    run.manifest["created"] = created
    for number in range(len(run.shards)):
        indices = shard_range(number, len(items))
        run.shards.write(
            number, encode(_evidence(items, indices, geometry, blocks, sides, photo, map_of or blob, labels, rng))
        )
    if quick:
        _random_tables(run, items, models, blocks, rng)
    else:
        score_run(run, options)
    run.save_manifest()
    return folder


def _evidence(
    items: Sequence[Item],
    indices: range,
    geometry: dict[str, Geometry],
    blocks: Sequence[str],
    sides: dict[str, int],
    photo: Callable[[int, int, int], tuple[np.ndarray, np.ndarray]],
    map_of: Callable[..., np.ndarray],
    labels: list[str],
    rng: np.random.Generator,
) -> Evidence:
    photos = [
        Photo(i, item.name, item.label, item.status, item.message, 320, 240, item.region)
        for i, item in ((i, items[i]) for i in indices)
    ]
    shown = np.array([i for i, each in enumerate(photos) if each.status != "unreadable"], dtype=np.int64)
    ok = np.array([photos[i].status == "ok" for i in shown], dtype=bool)
    views = {view.key: view for view in geometry.values()}
    pictures = {key: [photo(indices[i], *view.size) for i in shown] for key, view in views.items()}
    masks = {
        key: np.array([mask for _, mask in seen], dtype=bool).reshape(len(shown), *views[key].size) & ok[:, None, None]
        for key, seen in pictures.items()
    }
    maps, logits = {}, {}
    for number, (model, view) in enumerate(geometry.items()):
        known = [labels.index(photos[i].label) if photos[i].label is not None else -1 for i in shown]
        predicted = [own if own >= 0 and rng.random() < 0.7 else int(rng.integers(len(labels))) for own in known]
        values = rng.normal(size=(len(shown), len(labels))).astype(np.float32)
        values[np.arange(len(shown)), predicted] = 4 + rng.random(len(shown)).astype(np.float32)
        target = np.array([own if own >= 0 else best for own, best in zip(known, predicted)], dtype=np.int64)
        logits[model] = keep_logits(values, target)
        for block in blocks:
            native = np.empty((len(shown), sides[block], sides[block]), np.float32)
            for row, (_, mask) in enumerate(pictures[view.key]):
                at = np.argwhere(mask).mean(axis=0) / mask.shape
                pull = rng.uniform(0.2, 0.9 + 0.1 * number)
                y, x = pull * at + (1 - pull) * rng.uniform(0.3, 0.7, 2)
                noise = rng.uniform(0, 0.25, native.shape[1:])
                native[row] = map_of(*native.shape[1:], y, x, rng.uniform(0.12, 0.3), noise)
            maps[Key(model, block)] = BlockMaps(native, np.full(len(shown), 0.42, np.float32))
    frames = {key: [jpeg(picture) for picture, _ in seen] for key, seen in pictures.items()}
    sizes = {key: view.size for key, view in views.items()}
    geometries = {model: view.key for model, view in geometry.items()}
    return Evidence(photos, shown, geometries, sizes, frames, masks, maps, logits)


def _random_tables(
    run: Run, items: Sequence[Item], models: Sequence[str], blocks: Sequence[str], rng: np.random.Generator
) -> None:
    keys = [(model, block) for model in models for block in blocks]
    count = len(items) * len(keys)
    scores = pd.DataFrame(
        {
            "image": np.repeat([item.name for item in items], len(keys)),
            "model": [model for model, _ in keys] * len(items),
            "block": [block for _, block in keys] * len(items),
            "label": np.repeat([item.label for item in items], len(keys)),
            "target": np.repeat([item.label for item in items], len(keys)),
            "predicted": np.repeat([item.label for item in items], len(keys)),
            "confidence": rng.random(count),
            "correct": True,
            "cam_max": 0.1,
            "r_area": 0.2,
            "b_x0": 4,
            "b_y0": 5,
            "b_x1": 60,
            "b_y1": 61,
            "w_r": rng.random(count),
            "w_n": rng.random(count),
            "sfd": rng.random(count),
            "status": "ok",
        }
    )
    write_table(run.folder / "scores.csv", scores[list(SCORES)])
    write_table(run.folder / "summary.csv", summarize(scores))
    write_table(run.folder / "comparison.csv", compare(scores))
    names = ("sfd", "pointing_game", "energy_pointing_game", "iou", "auroc", "gini")
    measures = scores[["image", "model", "block", "status"]].loc[np.repeat(np.arange(count), len(names))]
    measures = measures.assign(measure=np.tile(names, count), value=rng.random(count * len(names)))
    write_table(run.folder / "measures.csv", measures[list(MEASURES)])
    nulls = scores[["image", "model", "block", "status"]].assign(
        null="shuffled", measure="sfd", value=rng.random(count)
    )
    write_table(run.folder / "nulls.csv", nulls[list(NULLS)])
    write_table(run.folder / "lift.csv", lift_over_nulls(measures[measures["measure"] == "sfd"], nulls))
    centres = Centres()
    centres._parts.append(rng.random(len(items)))  # as if the evidence had been read
    by_key = measures["value"].to_numpy().reshape(len(items), len(keys), len(names))
    every = {(Key(*keys[k]), names[m], ""): by_key[:, k, m] for k, m in np.ndindex(len(keys), len(names))}
    with closing(AllValues()) as values:
        values.add(SimpleNamespace(values=every))
        write_verdict_tables(run.folder, scores, values, centres, ScoreOptions())
    write_table(run.folder / "readings.csv", _random_readings(blocks, models, rng))
    run.manifest |= {"scoring": ScoreOptions().resolved().to_json(), "assumptions": []}


def _random_readings(blocks: Sequence[str], models: Sequence[str], rng: np.random.Generator) -> pd.DataFrame:
    choices = (SCALINGS, THRESHOLDS, BOXES, REGIONS, ZERO_CAMS, NO_BACKGROUNDS)
    keys = [(block, *pair, *each) for block in blocks for pair in combinations(models, 2) for each in product(*choices)]
    delta, half = rng.normal(0, 0.02, len(keys)), rng.uniform(0.005, 0.03, len(keys))
    numbers = {"n": 1000, "delta": delta, "ci_low": delta - half, "ci_high": delta + half}
    return pd.DataFrame(keys, columns=list(READINGS[:9])).assign(**numbers)
