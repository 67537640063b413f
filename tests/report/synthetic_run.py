"""Makes the folder of a run without any network: for tests of the report, and to look at it.

Photos and masks come from a callable, maps are blobs near the object or near the centre, and the scores follow from
maps and masks by a few lines of numpy, so that tables, journal and pictures agree with each other.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from das_explain.data.geometry import Geometry, Preprocess
from das_explain.statuses import SCORED

SCORES = [
    "image", "model", "block", "label", "target", "predicted", "confidence", "correct", "cam_max", "r_area",
    "b_x0", "b_y0", "b_x1", "b_y1", "w_r", "w_n", "sfd", "status",
]  # fmt: skip
EMPTY = dict.fromkeys(SCORES[8:17])
SIDES = {"layer1": 8, "layer2": 8, "layer3": 14, "layer4": 7}


@dataclass(frozen=True)
class Item:
    """One image of a synthetic run. An image-level ``status`` other than ok has no maps; unreadable ones no frame."""

    name: str
    label: str | None = "cat"
    status: str = "ok"
    message: str = ""


def stripes(index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture of two colours with a disc in it, and the disc's mask: uint8 (H, W, 3), bool (H, W)."""
    y, x = np.mgrid[:height, :width]
    mask = (y - height * (0.4 + 0.05 * (index % 5))) ** 2 + (x - width / 2) ** 2 < (0.25 * min(height, width)) ** 2
    photo = np.where(mask[..., None], (220, 160, 40), (40, 90 + 10 * (index % 8), 120)).astype(np.uint8)
    return photo, mask


def png(mask: np.ndarray) -> str:
    """A mask as the journal holds it: base64 of a 1-bit PNG."""
    buffer = io.BytesIO()
    Image.fromarray(mask).convert("1").save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def blob(h: int, w: int, y: float, x: float, sigma: float, noise: np.ndarray) -> np.ndarray:
    """A Gaussian at (y, x), fractions of the frame, plus noise, scaled to [0, 1]: float (h, w)."""
    rows, columns = (np.arange(h) + 0.5) / h, (np.arange(w) + 0.5) / w
    value = np.exp(-((rows[:, None] - y) ** 2 + (columns[None] - x) ** 2) / (2 * sigma**2)) + noise
    value = np.clip(value - value.min(), 0, None)
    return value / value.max()


def score(small: np.ndarray, mask: np.ndarray, threshold: float = 0.3) -> dict:
    """The score's cells for one map (any size) on one mask, bool (H, W): 10^w - 1 and the smallest rectangle."""
    grey = Image.fromarray(small.astype(np.float32))
    cam = np.clip(np.asarray(grey.resize(mask.shape[::-1], Image.Resampling.BILINEAR)), 0, 1)
    rows, columns = np.nonzero(mask | (cam >= threshold))
    y0, y1, x0, x1 = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    inside = np.zeros_like(mask)
    inside[y0:y1, x0:x1] = True
    weight = 10**cam - 1
    w_r, w_n = float(weight[mask].mean()), float(weight[inside & ~mask].mean()) if (inside & ~mask).any() else 0.0
    return {
        "cam_max": 0.42,
        "r_area": float(mask.mean()),
        "b_x0": int(x0),
        "b_y0": int(y0),
        "b_x1": int(x1),
        "b_y1": int(y1),
        "w_r": w_r,
        "w_n": w_n,
        "sfd": w_r / (w_r + w_n),
        "status": "ok",
    }


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
    frame_bytes: bytes | None = None,
    created: str = "2025-07-03T14:05:00+00:00",
    seed: int = 0,
) -> Path:
    """Write a run's files to ``folder``. ``second_size``: another input size for the last model. ``frame_bytes``: use
    these bytes for every frame, and random scores, which makes a thousand images a matter of seconds."""
    rng = np.random.default_rng(seed)
    (folder / "frames").mkdir(parents=True)
    first = Geometry(size=size, resize=round(min(size) * 8 / 7))
    other = Geometry(size=second_size, resize=min(second_size)) if second_size else first
    geometry = {model: other if model == models[-1] else first for model in models}
    labels = sorted({item.label for item in items if item.label is not None}) or ["cat"]
    rows, nulls, records = [], [], []
    quick_mask = png(stripes(0, *size)[1]) if frame_bytes else None
    for index, item in enumerate(items):
        facts = {"image": item.name, "label": item.label or ""}
        record = {
            "index": index,
            "image": item.name,
            "label": item.label,
            "status": item.status,
            "message": item.message,
            "frame": "" if item.status == "unreadable" else f"frames/{index:06d}.jpg",
            "width": 320,
            "height": 240,
            "mask": {},
            "region": {"source": "masks"},
            "scores": [],
            "nulls": [],
            "maps": {},
        }
        views: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        if item.status != "unreadable":
            for view in dict.fromkeys(geometry.values()):
                name = f"{index:06d}.jpg" if view == first else f"{index:06d}.{view.key}.jpg"
                if frame_bytes:
                    (folder / "frames" / name).write_bytes(frame_bytes)
                    views[view.key] = (None, None)
                    encoded = quick_mask
                else:
                    picture, mask = photo(index, *view.size)
                    views[view.key] = (picture, mask)
                    Image.fromarray(picture).save(folder / "frames" / name, quality=88)
                    encoded = png(mask)
                if item.status == "ok":
                    record["mask"][view.key] = encoded
        for number, model in enumerate(models):
            predicted = item.label if item.label and rng.random() < 0.7 else str(rng.choice(labels))
            seen = {
                **facts,
                "model": model,
                "target": item.label or predicted,
                "predicted": predicted,
                "confidence": round(float(rng.uniform(0.3, 0.99)), 6),
                "correct": None if item.label is None else predicted == item.label,
            }
            if item.status == "unreadable":
                seen = {**seen, "target": "", "predicted": "", "confidence": None, "correct": None}
            for block in blocks:
                if item.status != "ok":
                    row = {**seen, "block": block, **EMPTY, "status": item.status}
                else:
                    side = sides[block]
                    view = geometry[model]
                    if frame_bytes:
                        small = rng.random((side, side))
                        row = {
                            **seen,
                            "block": block,
                            "cam_max": 0.1,
                            "r_area": 0.2,
                            "b_x0": 4,
                            "b_y0": 5,
                            "b_x1": 60,
                            "b_y1": 61,
                            "w_r": 1.5,
                            "w_n": 1.0,
                            "sfd": float(rng.random()),
                            "status": "ok",
                        }
                    else:
                        mask = views[view.key][1]
                        at = np.argwhere(mask).mean(axis=0) / mask.shape
                        pull = rng.uniform(0.2, 0.9 + 0.1 * number)
                        y, x = pull * at + (1 - pull) * rng.uniform(0.3, 0.7, 2)
                        small = blob(side, side, y, x, rng.uniform(0.12, 0.3), rng.uniform(0, 0.25, (side, side)))
                        row = {**seen, "block": block, **score(small, mask)}
                    record["maps"].setdefault(model, {})[block] = {
                        "h": side,
                        "w": side,
                        "geometry": view.key,
                        "data": base64.b64encode(np.rint(small * 255).astype(np.uint8).tobytes()).decode(),
                    }
                    for null, shift in (("shuffled", -0.05), ("centre", 0.02), ("uniform", None)):
                        value = 0.5 if shift is None else float(np.clip(row["sfd"] + shift + rng.normal(0, 0.06), 0, 1))
                        entry = {"model": model, "block": block, "null": null, "sfd": value, "status": "ok"}
                        nulls.append({"image": item.name, **entry})
                        record["nulls"].append(entry)
                rows.append(row)
                record["scores"].append({key: value for key, value in row.items() if key != "image"})
        records.append(record)
    table = pd.DataFrame(rows, columns=SCORES)
    table.to_csv(folder / "scores.csv", index=False)
    null_columns = ["image", "model", "block", "null", "sfd", "status"]
    pd.DataFrame(nulls, columns=null_columns).to_csv(folder / "nulls.csv", index=False)
    (folder / "journal.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    nulls = pd.DataFrame(nulls, columns=null_columns)
    for name, frame in {**_tables(table, models, blocks), "lift.csv": _lift(table, nulls)}.items():
        frame.to_csv(folder / name, index=False)
    manifest = {
        "schema": 1,
        "command": ["das-explain", "sfd", "photos.csv", "--out", str(folder)],
        "created": created,
        "seed": seed,
        "sample": [item.name for item in items],
        "versions": {"das-explain": "0.1.0", "python": "3.12.1", "torch": "2.14.1"},
        "device": "cpu",
        "models": [
            {
                "name": model,
                "spec": f"models/{model}",
                "fingerprint": f"{i:064x}",
                "blocks": list(blocks),
                "preprocess": Preprocess(geometry[model]).to_config(),
                "n_labels": len(labels),
            }
            for i, model in enumerate(models)
        ],
        "data": {"spec": "photos.csv", "fingerprint": "ab" * 32, "count": len(items)},
        "options": {
            "scaling": "antilog",
            "threshold": 0.3,
            "box": "rect",
            "method": "gradcam",
            "target": "label",
            "blocks": list(blocks),
        },
        "segmenter": {"name": "masks"},
        "counts": table["status"].value_counts().to_dict(),
    }
    (folder / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def _interval(values: np.ndarray) -> tuple[float, float, float]:
    mean, half = values.mean(), 1.96 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return mean, mean - half, mean + half


def _tables(scores: pd.DataFrame, models: Sequence[str], blocks: Sequence[str]) -> dict[str, pd.DataFrame]:
    """summary.csv and comparison.csv with normal intervals and made-up p values."""
    scored = scores[scores["status"] == "ok"]
    wide = scored.pivot_table(index="image", columns=["model", "block"], values="sfd") if len(scored) else None
    summary, comparison = [], []
    for model, block in itertools.product(models, blocks):
        values = scored[(scored["model"] == model) & (scored["block"] == block)]["sfd"].to_numpy(dtype=float)
        n = int(((scores["model"] == model) & (scores["block"] == block)).sum())
        summary.append([model, block, n, len(values), *(_interval(values) if len(values) else [None] * 3)])
    for block, (a, b) in itertools.product(blocks, itertools.combinations(models, 2)):
        if wide is None:
            comparison.append([block, a, b, 0, *[None] * 8])
            continue
        pair = wide[[(a, block), (b, block)]].dropna().to_numpy()
        difference = pair[:, 1] - pair[:, 0]
        delta, low, high = _interval(difference)
        p = 0.004 if low > 0 or high < 0 else 0.31
        win = (difference > 0).mean()
        comparison.append([block, a, b, len(pair), *pair.mean(axis=0), delta, low, high, p, min(1, 2 * p), win])
    columns = [
        "block",
        "model_a",
        "model_b",
        "n",
        "mean_a",
        "mean_b",
        "delta",
        "ci_low",
        "ci_high",
        "p_value",
        "p_adjusted",
        "win_rate",
    ]
    return {
        "summary.csv": pd.DataFrame(
            summary, columns=["model", "block", "n", "n_scored", "mean_sfd", "ci_low", "ci_high"]
        ),
        "comparison.csv": pd.DataFrame(comparison, columns=columns),
    }


def _lift(scores: pd.DataFrame, nulls: pd.DataFrame) -> pd.DataFrame:
    """lift.csv with normal intervals."""
    both = scores[scores["status"].isin(SCORED)].merge(nulls, on=["image", "model", "block"], suffixes=("", "_null"))
    rows = []
    for (model, block, null), group in both.groupby(["model", "block", "null"], sort=False):
        ours, blind = group["sfd"].to_numpy(dtype=float), group["sfd_null"].to_numpy(dtype=float)
        rows.append([model, block, "sfd", ours.mean(), null, blind.mean(), *_interval(ours - blind), len(ours)])
    columns = ["model", "block", "measure", "mean", "null", "mean_null", "lift", "ci_low", "ci_high", "n"]
    return pd.DataFrame(rows, columns=columns)
