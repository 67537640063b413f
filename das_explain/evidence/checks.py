"""Whether a run's own files agree: what ``run.json`` says of the models, and what the shards hold of them.

A run may come from a stranger. What is read of it is checked here once, so that nobody below has to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from das_explain.evidence.codec import MOST_SIDE
from das_explain.evidence.values import Evidence, Key
from das_explain.statuses import STATUSES

KINDS = {"models": list, "data": dict, "sample": list, "options": dict, "groups": dict, "seed": int}
RESULTS_IN_WORDS = ("assumptions", "verdicts", "region_uncertainty")


def manifest_problem(manifest: Mapping[str, Any]) -> str | None:
    """What is wrong with what ``run.json`` holds; ``None`` where it can be used."""
    for name, kind in KINDS.items():
        if not isinstance(manifest.get(name), kind) or (name == "seed" and manifest[name] < 0):
            return f"has no usable {name!r}"
    lists = (
        *((name, manifest.get(name, [])) for name in ("explaining_assumptions", "asked")),
        ("measures", manifest["options"].get("measures") or []),
        *(("groups", members) for members in manifest["groups"].values()),
    )
    for name, texts in lists:
        if not are_texts(texts):
            return f"has no usable {name!r}"
    if problem := next(filter(None, map(model_problem, manifest["models"])), None):
        return problem
    return None if are_texts(manifest["sample"]) else "does not name its images"


def without_odd_results(manifest: dict[str, Any]) -> dict[str, Any]:
    """The same without what it says of results in another type than ours, which scoring makes anew."""
    odd = {name for name in RESULTS_IN_WORDS if not are_texts(manifest.get(name, []))}
    scoring = manifest.get("scoring", {})
    if not isinstance(scoring, dict) or not are_texts(scoring.get("measures", [])):
        odd.add("scoring")
    return {name: value for name, value in manifest.items() if name not in odd}


def model_problem(entry: Any) -> str | None:
    """What is wrong with an entry of ``models`` in ``run.json``; ``None`` where it can be used."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        return "does not name its models"
    blocks, labels, logit = entry.get("blocks"), entry.get("labels"), entry.get("logit") or {}
    if not are_texts(blocks):
        return "does not name its models' blocks"
    if labels is not None and not are_texts(labels):
        return "does not name its models' classes"
    if not isinstance(logit, dict) or not all(type(each) is int for each in logit.values()):
        return "does not say which logit each class is"
    return None


def check_evidence(
    evidence: Evidence, models: Sequence[Mapping[str, Any]], sizes: Mapping[str, tuple[int, int]]
) -> None:
    """Raises ValueError unless the evidence is of these models, and of frames of these sizes (by geometry)."""
    for photo in evidence.photos:
        if photo.status not in STATUSES or not isinstance(photo.region, dict):
            raise ValueError(f"what it says of {photo.image!r} is no evidence")
    readable = [place for place, photo in enumerate(evidence.photos) if photo.status != "unreadable"]
    if evidence.shown.tolist() != readable:
        raise ValueError("it lacks the answers to a photo, or has answers to one that could not be read")
    for key, size in evidence.sizes.items():
        if sizes.get(key) != size:
            raise ValueError("its frames are not of the size that the models see")
    if evidence.frames and evidence.frames.keys() != sizes.keys():
        raise ValueError("its frames are not those that the models see")
    if not readable:
        return
    wanted = {Key(model["name"], block) for model in models for block in model["blocks"]}
    if evidence.maps.keys() != wanted or any(not maps.native.size for maps in evidence.maps.values()):
        raise ValueError("its maps are not those of the models and blocks")
    if evidence.logits.keys() != {model["name"] for model in models}:
        raise ValueError("its logits are not those of the models")
    for model in models:
        logits = evidence.logits[model["name"]]
        if not logits.classes.size or logits.classes.shape != logits.values.shape:
            raise ValueError("it has logits without classes")
        classes = len(model["labels"]) if model.get("labels") else 2**31
        if (
            min(logits.classes.min(), logits.target.min()) < 0
            or max(logits.classes.max(), logits.target.max()) >= classes
        ):
            raise ValueError("it has classes that the models do not have")


def check_sides(size: Sequence[Any]) -> tuple[int, int]:
    """A frame's (height, width). Raises ValueError for what no frame has: a damaged number must not fill the memory."""
    height, width = size
    if not (type(height) is type(width) is int and 0 < height <= MOST_SIDE and 0 < width <= MOST_SIDE):
        raise ValueError(f"a frame of {height} x {width} pixels")
    return height, width


def are_texts(value: Any) -> bool:
    """Whether it is a list of nothing but texts."""
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
