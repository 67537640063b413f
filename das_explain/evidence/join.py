"""One run out of several that were made apart, another day or on another machine: same photos, other models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.codec import encode
from das_explain.evidence.provenance import asked, asked_about, makers, sentences
from das_explain.evidence.run import ALL, MADE_OF, RESULTS, Run
from das_explain.evidence.values import Evidence, Key, Photo
from das_explain.nulls import NULLS

Renaming = dict[str, str]  # a model's name in its run -> in the joined one, of those that are taken


def join_runs(runs: Sequence[Run], out: Path, check: Callable[[Run], None] = lambda _: None) -> Run:
    """Puts the evidence of runs together in ``out``, to be scored there.

    They must agree in data, sample, segmenter and options, and in how each photo fared. Of unfinished runs those images
    are taken that all have; the joined run is unfinished, too. A model that is in several runs
    is taken once; several of one name are copies of one design, or, if they differ in more than their weights, get their
    run's folder as a prefix. Where the masks that the runs found
    differ, the first run's is R for all, and ``run.json`` says on how many images. ``check`` is shown the joined run
    before anything is written.

    Raises:
        UsageError: fewer than two runs, or ``out`` is not empty.
        DasExplainError: the runs differ, by the first difference, or have no image in common.
    """
    if len(runs) < 2:
        raise UsageError("compare needs two runs or more: name their folders")
    for run in runs:
        _check_alike(runs[0], run)
    numbers = sorted(set.intersection(*(set(run.shards.there()) for run in runs)))
    if not numbers:
        raise DasExplainError(f"{runs[0].folder} and the others have no image in common yet: run their sfd again first")
    names = _names(runs)
    joined = Run(out, _manifest(runs, names))
    check(joined)
    joined.claim()
    shutil.copyfile(runs[0].path("sample.csv"), joined.path("sample.csv"))
    seen = _Masks()
    for number, *parts in zip(numbers, *(run.evidence(ALL, numbers) for run in runs), strict=True):
        nulls = [asked_about(run.shards.path(number)) for run in runs]
        in_all = [null for null in joined.asked if all(null in each for each in nulls)]
        merged = _merged(runs, parts, names.renamings, seen)
        merged.nulls = {at: answer for at, answer in merged.nulls.items() if at[2] in in_all}
        joined.shards.write(number, asked(encode(merged), in_all))
    made_by = makers([(run.shards.path(number), run.shards.images(number)) for run in runs for number in numbers])
    told = {sentence for run in runs for sentence in sentences(run.manifest.get("made_by", []))}
    notes = [each for each in joined.manifest["explaining_assumptions"] if each not in told]
    joined.manifest["explaining_assumptions"] = [*notes, *sentences(made_by), *seen.sentences(len(joined.seen))]
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


class _Names(NamedTuple):
    """What models are called in the joined run.

    ``renamings``: for each run, of the models that are taken from it; ``groups``: design -> its copies; ``copies``: designs
    that are put together from several runs.
    """

    renamings: list[Renaming]
    groups: dict[str, list[str]]
    copies: list[str]


class _Member(NamedTuple):
    """A checkpoint of a group: which run has it, what it is called there, and what it is."""

    run: int
    name: str
    entry: dict[str, Any]


def _names(runs: Sequence[Run]) -> _Names:
    """A group that several runs have is one group of copies, as a name that is given twice to ``sfd``.

    A checkpoint that is in several runs is taken once. Where those of one group differ in more than their weights, they
    are no copies, and each run's get its folder as a prefix.
    """
    groups: dict[str, list[_Member]] = {}
    for number, run in enumerate(runs):
        entries = {str(entry["name"]): entry for entry in run.manifest["models"]}
        for group, members in run.manifest["groups"].items():
            known = groups.setdefault(str(group), [])
            for name in map(str, members):
                if all(_checkpoint(entries[name]) != _checkpoint(each.entry) for each in known):
                    known.append(_Member(number, name, entries[name]))
    folders = [run.folder.resolve().name for run in runs]
    prefixes = [
        folder + (f"-{number}" if folders.count(folder) > 1 else "") for number, folder in enumerate(folders, 1)
    ]
    found = _Names([{} for _ in runs], {}, [])
    for group, known in groups.items():
        sources = list(dict.fromkeys(each.run for each in known))
        if all(_design(each.entry) == _design(known[0].entry) for each in known):
            parts = {group: known}
            found.copies.extend([group] * (len(sources) > 1))
        else:
            parts = {f"{prefixes[run]}-{group}": [each for each in known if each.run == run] for run in sources}
        for title, members in parts.items():
            names = [title] if len(members) == 1 else [f"{title}#{copy}" for copy in range(1, len(members) + 1)]
            if title in found.groups:
                raise DasExplainError(f"two models would both be called {title}: rename the folder of a run")
            found.groups[title] = names
            for member, name in zip(members, names, strict=True):
                found.renamings[member.run][member.name] = name
    return found


def _checkpoint(entry: dict[str, Any]) -> Any:
    """What makes it the same checkpoint, seen in the same way."""
    return entry.get("fingerprint"), _design(entry)


def _design(entry: dict[str, Any]) -> Any:
    """What copies of one design have in common: blocks, input, and what was done to gates and weights."""
    changes = [part for part in str(entry.get("spec")).split("+")[1:] if part.startswith(("gates=", "weights="))]
    return entry.get("blocks"), entry.get("preprocess"), changes


def _manifest(runs: Sequence[Run], names: _Names) -> dict[str, Any]:
    """The first run's, with the models of all, and where each part came from."""
    models, notes = [], []
    for run, renaming in zip(runs, names.renamings, strict=True):
        models += [
            {**entry, "name": renaming[str(entry["name"])]}
            for entry in run.manifest["models"]
            if str(entry["name"]) in renaming
        ]
        notes += run.manifest.get("explaining_assumptions", [])
    for group in names.copies:
        notes.append(
            f"{group} names checkpoints of several runs: they are taken for {len(names.groups[group])} copies of one design"
        )
    made = ("command", "created", "device", "versions", "made_by", "seed")
    parts = [{"folder": str(run.folder), **{name: run.manifest.get(name) for name in made}} for run in runs]
    left_out = (*RESULTS, *MADE_OF, "figures", "made_by", "asked")
    rest = {name: value for name, value in runs[0].manifest.items() if name not in left_out}
    of_all = _asked_of_all(runs)
    if any(set(run.asked) != set(of_all) for run in runs):
        notes.append(
            f"measures that ask networks stand beside {', '.join(of_all)} alone: about others not all joined runs were asked alike"
            if of_all
            else "measures that ask networks have no nulls: about none were all joined runs asked alike"
        )
    joined = {
        **({"asked": of_all} if of_all else {}),
        "models": models,
        "groups": names.groups,
        "explaining_assumptions": list(dict.fromkeys(notes)),
        "joined": parts,
    }
    return json.loads(json.dumps({**rest, **joined}))


def _asked_of_all(runs: Sequence[Run]) -> list[str]:
    """The nulls about which the networks of all runs were asked; with other seeds chance and partners differ."""
    alike = [null for null in runs[0].asked if all(null in run.asked for run in runs)]
    one_seed = len({run.manifest["seed"] for run in runs}) == 1
    return [null for null in alike if one_seed or (null in NULLS and NULLS[null].blind)]


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
        own = {at: masks for at, masks in part.alternatives.items() if at[0] not in merged.masks}
        merged.alternatives = {**merged.alternatives, **own}  # of the run whose R is taken
        for geometry, masks in part.masks.items():
            if geometry in merged.masks:
                seen.compare(shown, merged.masks[geometry], masks)
            else:
                merged.masks[geometry] = masks
        merged.maps |= {Key(names[key.model], key.block): maps for key, maps in part.maps.items() if key.model in names}
        merged.logits |= {names[model]: logits for model, logits in part.logits.items() if model in names}
        kinds: list[tuple[dict[Any, Any], dict[Any, Any]]]
        kinds = [(merged.measured, part.measured), (merged.nulls, part.nulls)]
        for into, answers in kinds:
            for (key, *rest), value in answers.items():
                if key.model in names:
                    at = (Key(names[key.model], key.block), *rest)
                    into[at] = value
    return merged
