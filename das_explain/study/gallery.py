"""A few photos through all copies: where each of them looks on the same photo, as small pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from das_explain.cam.colours import overlay
from das_explain.evidence.run import ALL, Run
from das_explain.evidence.values import Evidence, Key
from das_explain.report.payload import is_jpeg, outline
from das_explain.statuses import SCORED

SIDE = 128  # of a picture, in pixels


@dataclass(frozen=True)
class Tile:
    """A copy's map over the photo: the picture's file, its sfd as text or why there is none, whether the copy is right."""

    copy: str
    file: str
    score: str
    right: bool | None


@dataclass(frozen=True)
class Shown:
    """One photo. ``why`` it was taken; ``tiles``: design -> block -> a tile per copy; ``outline``: R as SVG path data in
    half pixels of a frame of ``width`` x ``height``."""

    image: str
    label: str
    why: str
    photo: str
    outline: str
    width: int
    height: int
    tiles: Mapping[str, Mapping[str, tuple[Tile, ...]]]


def show(run: Run, folder: Path, stem: str) -> list[Shown]:
    """Writes the pictures of the photos on which copies agree most, least and as usual into ``folder``.

    Agreement: the standard deviation over all copies of sfd at the last block. A photo comes once.
    """
    scores = run.table("scores")
    scores = scores.astype(dict.fromkeys(("image", "model", "block", "status", "label"), str))
    last = {str(model["name"]): str(model["blocks"][-1]) for model in run.manifest["models"]}
    scored = scores[(scores["block"] == scores["model"].map(last)) & scores["status"].isin(SCORED)]
    spread = scored.pivot(index="image", columns="model", values="sfd").dropna(axis=1, how="all")
    spread = spread.dropna().std(axis=1, ddof=0)
    if spread.empty:
        return []
    order = spread.reindex(sorted(spread.index)).sort_values(kind="stable").index
    reasons = {"all copies alike": order[0], "as usual": order[len(order) // 2], "copies differ most": order[-1]}
    chosen: dict[str, str] = {}
    for why, image in reasons.items():
        chosen.setdefault(image, why)
    found: dict[str, Shown] = {}
    for evidence in run.evidence(ALL):
        for row, position in enumerate(evidence.shown):
            photo = evidence.photos[position]
            if photo.image in chosen:
                rows = scores[scores["image"] == photo.image].set_index(["model", "block"])
                name = f"{stem}-{len(found)}"
                if one := _shown(run, evidence, row, rows, chosen[photo.image], folder, name):
                    found[photo.image] = one
    return [found[image] for image in chosen if image in found]


def _shown(run: Run, evidence: Evidence, row: int, rows, why: str, folder: Path, name: str) -> Shown | None:
    photo = evidence.photos[evidence.shown[row]]
    groups = run.manifest["groups"]
    first = run.models[0]
    frame = _frame(evidence, first, row)
    if frame is None:
        return None
    _save(frame, folder / f"{name}.jpg")
    masks = evidence.masks.get(evidence.geometries[first])
    tiles: dict[str, dict[str, tuple[Tile, ...]]] = {}
    for design, members in groups.items():
        for block in dict.fromkeys(b for m in run.manifest["models"] if m["name"] in members for b in m["blocks"]):
            made = []
            for copy in members:
                key = Key(copy, block)
                if key not in evidence.maps or (copy, block) not in rows.index:
                    continue
                cell, native = rows.loc[(copy, block)], evidence.maps[key].native[row]
                file = f"{name}-{run.models.index(copy)}-{len(tiles.get(design, {}))}.jpg"
                if not np.isfinite(native).all():
                    continue
                _save(overlay(frame, np.clip(native, 0, 1)), folder / file)
                score = f"{cell['sfd']:.2f}" if cell["status"] in SCORED else cell["status"]
                right = None if np.isnan(cell["correct"]) else bool(cell["correct"])
                made.append(Tile(copy, file, score, right))
            tiles.setdefault(design, {})[block] = tuple(made)
    height, width = frame.shape[:2]
    path = outline(masks[row]) if masks is not None else ""
    return Shown(photo.image, photo.label or "", why, f"{name}.jpg", path, width, height, tiles)


def _frame(evidence: Evidence, model: str, row: int) -> np.ndarray | None:
    """The photo as the network saw it, uint8 (H, W, 3); what is no JPEG of its size is not opened."""
    geometry = evidence.geometries[model]
    frames, size = evidence.frames.get(geometry), evidence.sizes[geometry]
    if not frames or not is_jpeg(frames[row], *size):
        return None
    with Image.open(io.BytesIO(frames[row]), formats=["JPEG"]) as image:
        return np.asarray(image.convert("RGB"))


def _save(pixels: np.ndarray, path: Path) -> None:
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    picture.save(path, quality=85)
