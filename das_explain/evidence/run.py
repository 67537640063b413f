"""A run's folder: the only place that results are written to, and what makes a killed run continue.

run.json       how the results came about: command, options, seed, versions, fingerprints, assumptions, counts
sample.csv     the images that were drawn, in the data set's order
evidence/      what photos and models left behind, see ``codec`` and ``shards``
scores.csv, measures.csv, nulls.csv, summary.csv, comparison.csv, lift.csv ...    read from the evidence
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from das_explain.data.geometry import Geometry, Preprocess
from das_explain.errors import DasExplainError
from das_explain.evidence.codec import SCHEMA as EVIDENCE
from das_explain.evidence.codec import SCORING_COLUMNS, decode
from das_explain.evidence.shards import Shards, shard_range
from das_explain.evidence.tables import SAMPLE, TABLES, read_table, write_rows
from das_explain.evidence.values import Evidence
from das_explain.files import check_folder, package_versions, write_json
from das_explain.types import Sample

SCHEMA = 2
IDENTITY = ("schema", "models", "data", "sample", "options", "segmenter", "seed")
"""Entries of the manifest that decide the evidence: a folder is continued only when all of them agree. How it is made
(batch, workers, engine, device) and how it is scored are none of them."""


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
        """An existing run. Raises DasExplainError when the folder holds none, or one of another version."""
        folder = Path(folder)
        path = folder / "run.json"
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DasExplainError(f"{folder} holds no run: run.json is missing; name the --out of an sfd run") from None
        except (OSError, ValueError) as error:
            raise DasExplainError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
        if not isinstance(manifest, dict):
            raise DasExplainError(f"{path} holds no JSON object: was it written by another program?")
        if manifest.get("schema") != SCHEMA:
            raise DasExplainError(
                f"{folder} was written with schema {manifest.get('schema')}, this version reads {SCHEMA}: "
                "run sfd again with another --out"
            )
        for name, kind in (("models", list), ("data", dict), ("sample", list), ("options", dict), ("groups", dict)):
            if not isinstance(manifest.get(name), kind):
                raise DasExplainError(f"{path} has no usable {name!r}: was it written by another program?")
        return cls(folder, manifest)

    @classmethod
    def start(
        cls, folder: Path, manifest: dict[str, Any], samples: Sequence[Sample], *, overwrite: bool = False
    ) -> Run:
        """Begins a run in ``folder``, or continues the same run that was cut off there.

        Raises:
            DasExplainError: the folder holds another run's results (``overwrite`` replaces them), or something that
                is no run, or another process is writing to it.
        """
        manifest = json.loads(json.dumps({"schema": SCHEMA, **manifest, "sample": [s.name for s in samples]}))
        manifest |= {
            "versions": package_versions(),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }
        check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        run = cls(folder, manifest)
        run.lock()
        if (folder / "run.json").exists():
            if changed := run._differences():
                if not overwrite and run._has_results():
                    raise DasExplainError(
                        f"{folder} holds the results of another run (other {', '.join(changed)}): "
                        "choose another --out, or --overwrite to replace them"
                    )
                run._clear()
            else:
                manifest["created"] = cls.open(folder).manifest.get("created")
        elif any(entry.name != ".lock" for entry in folder.iterdir()):
            raise DasExplainError(f"--out {folder} is not empty and holds no run; choose another folder")
        run.save_manifest()
        rows = ({"index": s.index, "image": s.name, "label": s.label} for s in samples)
        write_rows(folder / "sample.csv", SAMPLE, rows)
        return run

    def copy_to(self, out: Path) -> Run:
        """The same evidence in another folder, to be scored otherwise there; links where the disk allows it."""
        check_folder(out)
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise DasExplainError(f"--out {out} is not empty; choose another folder")
        copy = Run(out, json.loads(json.dumps(self.manifest)))
        copy.lock()
        copy.save_manifest()
        shutil.copyfile(self.folder / "sample.csv", out / "sample.csv")
        copy.shards.folder.mkdir()
        for number in self.shards.present():
            source, target = self.shards.path(number), copy.shards.path(number)
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
    def models(self) -> list[str]:
        """The models' names, in the order they were given."""
        return [str(entry["name"]) for entry in self.manifest["models"]]

    @property
    def geometries(self) -> dict[str, Geometry]:
        """Model -> which pixels of a photo it sees."""
        entries = self.manifest["models"]
        try:
            return {str(entry["name"]): Preprocess.from_config(entry["preprocess"]).geometry for entry in entries}
        except (KeyError, TypeError, ValueError, IndexError):
            raise DasExplainError(f"{self.folder / 'run.json'} does not say how its models see a photo") from None

    @property
    def shards(self) -> Shards:
        """The evidence, as files."""
        return Shards(self.folder / "evidence", len(self.sample))

    def evidence(
        self, columns: Sequence[str] = SCORING_COLUMNS, numbers: Sequence[int] | None = None
    ) -> Iterator[Evidence]:
        """The evidence, shard by shard, in the drawn order; ``columns=ALL`` with the frames; ``numbers``: of some shards.

        Raises DasExplainError for a shard that is missing, damaged, or of other images than the run's.
        """
        geometries = {model: geometry.key for model, geometry in self.geometries.items()}
        sizes = {geometry.key: geometry.size for geometry in self.geometries.values()}
        segmenter = self.manifest.get("segmenter")
        looked_for = isinstance(segmenter, dict) and segmenter.get("name") != "none"
        shards = self.shards
        for number in range(len(shards)) if numbers is None else numbers:
            evidence = decode(shards.read(number, columns))
            wanted = shard_range(number, len(self.sample))
            if [photo.image for photo in evidence.photos] != self.sample[wanted.start : wanted.stop]:
                raise DasExplainError(
                    f"{shards.path(number)} holds other images than run.json names: delete it and run sfd again"
                )
            evidence.geometries = geometries
            evidence.sizes = sizes | evidence.sizes
            if looked_for:  # a part in which no image has a region is not one without a segmenter
                for key, size in sizes.items():
                    evidence.masks.setdefault(key, np.zeros((len(evidence.shown), *size), bool))
            yield evidence

    def table(self, name: str) -> pd.DataFrame:
        """A table of this run as a pandas DataFrame; labels and names stay text, whatever they look like."""
        return read_table(self.folder / f"{name}.csv", TABLES.get(name, ()))

    def save_manifest(self) -> None:
        """Writes ``run.json``."""
        write_json(self.folder / "run.json", self.manifest)

    def lock(self) -> None:
        """Keeps other processes from writing to the folder, until this one ends. Raises DasExplainError."""
        from filelock import FileLock, Timeout

        self._lock = FileLock(self.folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise DasExplainError(f"another process is writing to {self.folder}; choose another --out") from None

    def _differences(self) -> list[str]:
        """What sets this run apart from the one that the folder holds; a run that cannot be read differs in all."""
        try:
            before = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return ["run.json"]
        if not isinstance(before, dict):
            return ["run.json"]
        if before.get("schema") != SCHEMA:
            return ["schema"]
        return [key for key in IDENTITY if before.get(key) != self.manifest.get(key)]

    def _has_results(self) -> bool:
        """Whether anything was found: a run that failed before, for wrong weights perhaps, is nothing to lose."""
        journal = self.folder / "journal.jsonl"  # of schema 1
        return any(self.shards.folder.glob("part-*.parquet")) or (journal.exists() and journal.stat().st_size > 0)

    def _clear(self) -> None:
        """Removes what a run has written, and nothing else that may lie in the folder."""
        self.shards.clear()
        for folder in ("frames", "report", "figures"):
            shutil.rmtree(self.folder / folder, ignore_errors=True)
        for name in ("run.json", "journal.jsonl", *(f"{table}.csv" for table in TABLES)):
            (self.folder / name).unlink(missing_ok=True)


ALL = tuple(EVIDENCE.names)
