"""One run out of several that were made apart, another day or on another machine: same photos, other models."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.codec import encode
from das_explain.evidence.run import ALL, Run
from das_explain.evidence.values import Evidence, Key, Photo
from das_explain.files import check_folder

Renaming = dict[str, str]  # a model's name in its run -> in the joined one, of those that are taken


def join_runs(runs: Sequence[Run], out: Path, check: Callable[[Run], None] = lambda _: None) -> Run:
    """Puts the evidence of runs together in ``out``, to be scored there.

    They must agree in data, sample, segmenter and options, and in how each photo fared. A model that is in several runs
    is taken once; models of one name that differ get their run's folder as a prefix. Where the masks that the runs found
    differ, the first run's is R for all, and ``run.json`` says on how many images. ``check`` is shown the joined run
    before anything is written.

    Raises:
        UsageError: fewer than two runs, or ``out`` is not empty.
        DasExplainError: the runs differ, by the first difference; a run is not whole.
    """
    if len(runs) < 2:
        raise UsageError("compare needs two runs or more: name their folders")
    for run in runs:
        _check_alike(runs[0], run)
        if run.shards.missing():
            raise DasExplainError(f"{run.folder}: parts of the evidence are missing: run its sfd command again first")
    renamings = _renamings(runs)
    joined = Run(out, _manifest(runs, renamings))
    check(joined)
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise UsageError(f"--out {out} is not empty; choose another folder")
    joined.lock()
    shutil.copyfile(runs[0].folder / "sample.csv", out / "sample.csv")
    seen = _Masks()
    for number, parts in enumerate(zip(*(run.evidence(ALL) for run in runs), strict=True)):
        joined.shards.write(number, encode(_merged(runs, parts, renamings, seen)))
    joined.manifest["explaining_assumptions"] += seen.sentences(len(joined.sample))
    joined.save_manifest()
    return joined


def _check_alike(first: Run, other: Run) -> None:
    """Raises DasExplainError, naming what sets two runs apart."""

    def refuse(what: str, one: Any, two: Any) -> None:
        raise DasExplainError(
            f"{first.folder} and {other.folder} cannot be compared: they differ in {what} ({one} and {two})"
        )

    one, two = (run.manifest["data"].get("fingerprint") for run in (first, other))
    if one != two:
        refuse(
            "data", *(f"{run.manifest['data'].get('spec')}, {str(x)[:12]}" for run, x in ((first, one), (other, two)))
        )
    if first.sample != other.sample:
        only = [name for name in first.sample if name not in set(other.sample)]
        lengths = (f"{len(run.sample)} images" for run in (first, other))
        refuse(f"their sample, {only[0]} is only in the former" if only else "their sample", *lengths)
    for part in ("segmenter", "options"):
        mine, theirs = (run.manifest.get(part) or {} for run in (first, other))
        for name in dict.fromkeys((*mine, *theirs)):
            if mine.get(name) != theirs.get(name):
                told = (json.dumps(each.get(name), ensure_ascii=False) for each in (mine, theirs))
                refuse(f"the {name} of the segmenter" if part == "segmenter" else f"the option {name}", *told)


def _renamings(runs: Sequence[Run]) -> list[Renaming]:
    """For each run, what its models are called; one that an earlier run has as well is not among them."""
    different: dict[str, list[dict[str, Any]]] = {}
    taken: list[list[str]] = []
    for run in runs:
        taken.append([])
        for entry in run.manifest["models"]:
            known = different.setdefault(str(entry["name"]), [])
            what = {key: entry.get(key) for key in ("fingerprint", "blocks", "preprocess")}
            if what not in known:
                known.append(what)
                taken[-1].append(str(entry["name"]))
    folders = Counter(run.folder.resolve().name for run in runs)
    prefixes = [
        run.folder.resolve().name + (f"-{number}" if folders[run.folder.resolve().name] > 1 else "")
        for number, run in enumerate(runs, 1)
    ]
    renamings = [
        {name: f"{prefix}-{name}" if len(different[name]) > 1 else name for name in names}
        for prefix, names in zip(prefixes, taken, strict=True)
    ]
    for name, count in Counter(name for names in renamings for name in names.values()).items():
        if count > 1:
            raise DasExplainError(f"two models would both be called {name}: rename the folder of a run")
    return renamings


def _manifest(runs: Sequence[Run], renamings: Sequence[Renaming]) -> dict[str, Any]:
    """The first run's, with the models of all, and where each part came from."""
    models, groups, notes = [], {}, []
    for number, (run, names) in enumerate(zip(runs, renamings, strict=True), 1):
        models += [
            {**entry, "name": names[str(entry["name"])]}
            for entry in run.manifest["models"]
            if str(entry["name"]) in names
        ]
        for group, members in run.manifest["groups"].items():
            kept = [names[str(member)] for member in members if str(member) in names]
            if kept:
                title = kept[0] if len(members) == 1 else group
                groups[title if title not in groups else f"{title} ({number})"] = kept
        notes += run.manifest.get("explaining_assumptions", [])
    made = ("command", "created", "device", "versions", "seed")
    parts = [{"folder": str(run.folder), **{name: run.manifest.get(name) for name in made}} for run in runs]
    scored = ("counts", "assumptions", "verdicts")
    rest = {name: value for name, value in runs[0].manifest.items() if name not in scored}
    joined = {"models": models, "groups": groups, "explaining_assumptions": list(dict.fromkeys(notes)), "joined": parts}
    return json.loads(json.dumps({**rest, **joined}))


@dataclass
class _Masks:
    """On which images runs have found another R, and the least IoU of two."""

    least: float = 1.0
    images: set[str] = field(default_factory=set)

    def compare(self, photos: Sequence[Photo], one: np.ndarray, two: np.ndarray) -> None:
        """Masks bool (n, H, W) of the same frames."""
        for photo, mine, theirs in zip(photos, one, two, strict=True):
            if (mine != theirs).any():
                self.images.add(photo.image)
                self.least = min(self.least, float((mine & theirs).sum() / max(1, (mine | theirs).sum())))

    def sentences(self, count: int) -> list[str]:
        """What ``run.json`` says of it."""
        if not self.images:
            return []
        return [
            f"the joined runs found another region R on {len(self.images)} of {count} images (least IoU {self.least:.2f}): "
            "the first run's is used"
        ]


def _merged(runs: Sequence[Run], parts: Sequence[Evidence], renamings: Sequence[Renaming], seen: _Masks) -> Evidence:
    """The evidence of the same images in all runs."""
    first = parts[0]
    for run, part in zip(runs, parts, strict=True):
        for mine, theirs in zip(first.photos, part.photos, strict=True):
            for what in ("label", "status"):
                one, two = getattr(mine, what), getattr(theirs, what)
                if one != two:
                    raise DasExplainError(
                        f"{runs[0].folder} and {run.folder} cannot be compared: {mine.image} has the {what} {one} in "
                        f"one and {two} in the other"
                    )
    merged = Evidence(first.photos, first.shown, {}, {}, {}, {}, {}, {})
    shown = [first.photos[i] for i in first.shown]
    for part, names in zip(parts, renamings, strict=True):
        merged.sizes = {**part.sizes, **merged.sizes}
        merged.frames = {**part.frames, **merged.frames}
        for geometry, masks in part.masks.items():
            if geometry in merged.masks:
                seen.compare(shown, merged.masks[geometry], masks)
            else:
                merged.masks[geometry] = masks
        merged.maps |= {Key(names[key.model], key.block): maps for key, maps in part.maps.items() if key.model in names}
        merged.logits |= {names[model]: logits for model, logits in part.logits.items() if model in names}
        merged.measured |= {
            (Key(names[key.model], key.block), measure): value
            for (key, measure), value in part.measured.items()
            if key.model in names
        }
    return merged
