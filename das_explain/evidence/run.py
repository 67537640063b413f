"""A run's folder: the only place that results are written to, and what makes a killed run continue.

run.json       how the results came about: command, options, seed, versions, fingerprints, assumptions, counts
sample.csv     the images that were drawn, in the data set's order
evidence/      what photos and models left behind, see ``codec`` and ``shards``
scores.csv, measures.csv, nulls.csv, summary.csv, comparison.csv, lift.csv ...    read from the evidence
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from das_explain.data.geometry import Geometry, Preprocess
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.checks import are_texts, check_evidence, check_sides, manifest_problem, without_odd_results
from das_explain.evidence.codec import SCHEMA as EVIDENCE
from das_explain.evidence.codec import SCORING_COLUMNS, decode
from das_explain.evidence.ownership import (
    MANIFEST,
    own_manifest,
    read_manifest,
    written_names,
)
from das_explain.evidence.provenance import asked_about, maker, makers, sentences, told_of_others
from das_explain.evidence.shards import Shards, shard_range
from das_explain.evidence.tables import SAMPLE, TABLES, read_table, write_rows
from das_explain.evidence.values import Evidence
from das_explain.files import package_versions, write_json
from das_explain.folders import check_folder, inside, lock_folder, remove_parts, remove_written
from das_explain.text import spelled
from das_explain.types import Sample

SCHEMA = 2
IDENTITY = ("schema", "models", "data", "sample", "options", "segmenter", "seed")
"""Entries of the manifest that decide the evidence: a folder is continued only when all of them agree. How it is made
(batch, workers, engine, device) and how it is scored are none of them."""
MADE_OF = ("copied_from", "joined")
"""Entries of a run that was made of others."""


class Run:
    """One run's folder, opened by ``Run.start`` (to write) or ``Run.open`` (to read).

    >>> run = Run.open("runs/demo")
    >>> run.models
    ['plain', 'das']
    >>> list(run.table("summary").columns)
    ['model', 'block', 'n', 'n_scored', 'mean_sfd', 'ci_low', 'ci_high']
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self._lock: Any = None

    def __repr__(self) -> str:
        models = ", ".join(self.models)
        return (
            f"Run({str(self.folder)!r}: {models} on {len(self.sample)} images of {self.manifest['data'].get('spec')})"
        )

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """An existing run. Raises UsageError when the folder holds none, DasExplainError for one of another version."""
        folder = Path(folder)
        path = folder / MANIFEST
        if not folder.is_dir():
            raise UsageError(f"{spelled(str(folder))} is no folder; name the --out of an sfd run")
        manifest = read_manifest(folder)
        if manifest is None:
            raise UsageError(f"{folder} holds no run: run.json is missing; name the --out of an sfd run")
        if not isinstance(manifest, dict):
            raise DasExplainError(f"{path} holds no JSON object: was it written by another program?")
        if manifest.get("schema") != SCHEMA:
            raise DasExplainError(
                f"{folder} was written with schema {manifest.get('schema')}, this version reads {SCHEMA}: "
                "run sfd again with another --out"
            )
        if problem := manifest_problem(manifest):
            raise DasExplainError(f"{path} {problem}: was it written by another program?")
        return cls(folder, without_odd_results(manifest))

    @classmethod
    def start(
        cls, folder: Path, manifest: dict[str, Any], samples: Sequence[Sample], *, overwrite: bool = False
    ) -> Run:
        """Begins a run in ``folder``, or continues the same run that was cut off there.

        ``run.json`` is written first and replaced last, so that whoever is killed in between can begin again.

        Raises:
            UsageError: the folder cannot be written, or holds something that is no run of ours.
            DasExplainError: the folder holds another run's results (``overwrite`` replaces them), or another process
                is writing to it.
        """
        manifest = json.loads(json.dumps({"schema": SCHEMA, **manifest}))
        manifest |= {
            "sample": [s.name for s in samples],
            "versions": package_versions(),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        check_folder(folder)
        before = own_manifest(folder)
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder, manifest)
        run.lock()
        if before is not None:
            if changed := run._differences(before):
                if not overwrite and run._has_results():
                    raise DasExplainError(
                        f"{folder} holds the results of another run (other {', '.join(changed)}): "
                        "choose another --out, or --overwrite to replace them"
                    )
                remove_written(folder, written_names(folder, before))
            else:
                kept = {name: before[name] for name in ("created", "figures", *MADE_OF) if name in before}
                run.manifest |= kept
                known = before.get("asked", [])
                if asked := dict.fromkeys([*manifest.get("asked", []), *(known if are_texts(known) else [])]):
                    run.manifest["asked"] = list(asked)
        run.save_manifest()
        rows = ({"index": s.index, "image": s.name, "label": s.label} for s in samples)
        write_rows(run.path("sample.csv"), SAMPLE, rows)
        return run

    def claim(self) -> None:
        """Makes the folder this run's, which was made of others: it is empty, or a killed process began the same there.

        Raises UsageError for any other folder.
        """
        check_folder(self.folder)
        before = own_manifest(self.folder) if self._is_there() else None
        if before is not None and ("scored" in before or self._differences(before, (*IDENTITY, *MADE_OF))):
            raise UsageError(f"--out {spelled(str(self.folder))} is not empty; choose another folder")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock()
        self.save_manifest()

    def copy_to(self, out: Path) -> Run:
        """The same evidence in another folder, to be scored otherwise there; links where the disk allows it."""
        manifest = {name: value for name, value in self.manifest.items() if name not in (*RESULTS, "figures")}
        origin = {"copied_from": os.path.realpath(self.folder)}
        copy = Run(out, json.loads(json.dumps(manifest | origin)))
        copy.claim()
        shutil.copyfile(self.path("sample.csv"), copy.path("sample.csv"))
        copy.path("evidence").mkdir(exist_ok=True)
        for number in self.shards.present():
            source, target = self.shards.path(number), copy.shards.path(number)
            target.unlink(missing_ok=True)  # of a copy that was cut off
            try:
                target.hardlink_to(source)
            except OSError:
                shutil.copyfile(source, target)
        return copy

    @property
    def sample(self) -> list[str]:
        """The names of the images, in the drawn order."""
        return self.manifest["sample"]

    @property
    def seen(self) -> list[str]:
        """The names of the images whose evidence is there: all of ``sample``, unless the run is unfinished."""
        shards = self.shards
        ranges = (shard_range(number, len(self.sample)) for number in shards.there())
        return [name for each in ranges for name in self.sample[each.start : each.stop]]

    @property
    def part(self) -> str | None:
        """``k of n images``, what the tables were made of where the run was unfinished then; ``None`` for all of them."""
        scored = self.manifest.get("scored")
        if not isinstance(scored, dict) or scored.get("images") == scored.get("of"):
            return None
        return f"{scored.get('images')} of {scored.get('of')} images"

    @property
    def is_scored(self) -> bool:
        """Whether the tables are whole and belong to the evidence that is there."""
        scored = self.manifest.get("scored")
        return isinstance(scored, dict) and scored.get("images") == len(self.seen) and self.path("scores.csv").exists()

    @property
    def models(self) -> list[str]:
        """The models' names, in the order they were given."""
        return [str(entry["name"]) for entry in self.manifest["models"]]

    @property
    def asked(self) -> list[str]:
        """The nulls about which the networks are asked, by measures that ask them."""
        return self.manifest.get("asked", [])

    @property
    def unasked(self) -> int:
        """On how many of the images whose evidence is there they have not been asked yet about all of them."""
        shards, wanted = self.shards, set(self.asked)
        return sum(shards.images(each) for each in shards.there() if wanted - set(asked_about(shards.path(each))))

    @property
    def geometries(self) -> dict[str, Geometry]:
        """Model -> which pixels of a photo it sees."""
        entries = self.manifest["models"]
        try:
            found = {str(entry["name"]): Preprocess.from_config(entry["preprocess"]).geometry for entry in entries}
            for geometry in found.values():
                check_sides(geometry.size)
            return found
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            raise DasExplainError(f"{self.folder / 'run.json'} does not say how its models see a photo") from None

    @property
    def shards(self) -> Shards:
        """The evidence, as files."""
        return Shards(self.folder / "evidence", len(self.sample))

    def evidence(
        self, columns: Sequence[str] = SCORING_COLUMNS, numbers: Sequence[int] | None = None
    ) -> Iterator[Evidence]:
        """The evidence that is there, shard by shard, in the drawn order (``seen``), or that of some shards, ``numbers``;
        ``columns=ALL`` with the frames.

        Raises DasExplainError for a shard that is damaged, or of other images than the run's.
        """
        geometries = {model: geometry.key for model, geometry in self.geometries.items()}
        sizes = {geometry.key: geometry.size for geometry in self.geometries.values()}
        segmenter = self.manifest.get("segmenter")
        looked_for = isinstance(segmenter, dict) and segmenter.get("name") != "none"
        shards = self.shards
        for number in shards.there() if numbers is None else numbers:
            evidence = decode(shards.read(number, columns), shards.path(number))
            wanted = shard_range(number, len(self.sample))
            if [photo.image for photo in evidence.photos] != self.sample[wanted.start : wanted.stop]:
                raise DasExplainError(
                    f"{shards.path(number)} holds other images than run.json names: delete it and run sfd again"
                )
            try:
                check_evidence(evidence, self.manifest["models"], sizes)
            except ValueError as error:
                raise DasExplainError(
                    f"{shards.path(number)} is not of this run ({error}): delete it and run sfd again"
                ) from None
            evidence.geometries = geometries
            evidence.sizes = dict(sizes)
            # A part in which no image has a region is not one without a segmenter.
            if looked_for and "masks" in columns:
                for key, size in sizes.items():
                    evidence.masks.setdefault(key, np.zeros((len(evidence.shown), *size), bool))
            yield evidence

    def photos(self) -> Iterator[dict[str, Any]]:
        """``image``, ``status`` and ``message`` of every image whose evidence is there, in order."""
        for number in self.shards.there():
            yield from self.shards.read(number, ("image", "status", "message")).to_pylist()

    def table(self, name: str) -> pd.DataFrame:
        """A table of this run as a pandas DataFrame; labels and names stay text, whatever they look like."""
        return read_table(self.path(f"{name}.csv"), TABLES.get(name, ()))

    def path(self, name: str) -> Path:
        """Where a file of the run is, or will be. Raises DasExplainError where a link leads out of the folder."""
        return inside(self.folder, name)

    def other_makers(self, device: str) -> list[str]:
        """A sentence on who made the evidence that is there, unless this version on this ``device`` made all of it."""
        shards = self.shards
        return told_of_others([(shards.path(each), shards.images(each)) for each in shards.present()], maker(device))

    def record_makers(self) -> None:
        """Writes into ``run.json`` who made the evidence, and, where it was not one alone, among what is assumed."""
        shards, before = self.shards, sentences(self.manifest.get("made_by", []))
        made_by = makers([(shards.path(number), shards.images(number)) for number in shards.there()])
        notes = [each for each in self.manifest["explaining_assumptions"] if each not in before]
        self.manifest |= {"made_by": made_by, "explaining_assumptions": [*notes, *sentences(made_by)]}
        self.save_manifest()

    def save_manifest(self) -> None:
        """Writes ``run.json``."""
        write_json(self.path(MANIFEST), self.manifest)

    def lock(self) -> None:
        """Keeps other processes from writing to the folder until this one ends, and removes what killed ones left.

        Raises UsageError where it cannot be written, DasExplainError where another process is writing to it.
        """
        self._lock = lock_folder(self.folder)
        for name in ("", "evidence", "figures"):
            remove_parts(self.path(name))

    def _is_there(self) -> bool:
        return self.folder.is_dir() and any(self.folder.iterdir())

    def _differences(self, before: dict[str, Any], entries: Sequence[str] = IDENTITY) -> list[str]:
        """What sets this run apart from the one of that ``run.json``."""
        if before.get("schema") != SCHEMA:
            return ["schema"]
        return [key for key in entries if before.get(key) != self.manifest.get(key)]

    def _has_results(self) -> bool:
        """Whether anything was found: a run that failed before, for wrong weights perhaps, is nothing to lose."""
        journal = self.folder / "journal.jsonl"  # of schema 1
        found = any(self.path("evidence").glob("part-*.parquet")) or self.path("scores.csv").exists()
        return found or (journal.exists() and journal.stat().st_size > 0)


RESULTS = ("scored", "counts", "assumptions", "verdicts", "region_uncertainty")
"""Entries of ``run.json`` that scoring wrote."""
ALL = tuple(EVIDENCE.names)
