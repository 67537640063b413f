"""A run's folder: the only place that results are written to, and what makes a killed run continue.

run.json       how the results came about: command, options, seed, versions, fingerprints, counts by status
sample.csv     the images that were drawn, in the data set's order
journal.jsonl  one record per image, appended batch by batch; the tables are made from it
frames/        what the networks saw, as JPEG
scores.csv, nulls.csv, summary.csv, comparison.csv, lift.csv [, designs.csv]
"""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from das_explain.errors import DasExplainError, UsageError
from das_explain.types import Sample

SCHEMA = 1
IDENTITY = ("schema", "models", "data", "sample", "options", "segmenter", "seed", "batch")
"""Entries of the manifest that decide the results: a folder is continued only when all of them agree."""

SCORE_COLUMNS = (
    "image", "model", "block", "label", "target", "predicted", "confidence", "correct", "cam_max", "r_area",
    "b_x0", "b_y0", "b_x1", "b_y1", "w_r", "w_n", "sfd", "status",
)  # fmt: skip
NULL_COLUMNS = ("image", "model", "block", "null", "sfd", "status")
PACKAGES = ("das-explain", "torch", "torchvision", "numpy", "pandas", "scipy", "pillow", "grad-cam")


def check_folder(out: Path) -> None:
    """Raises UsageError unless files can be written to ``out``, be it there or still to be made. Leaves no trace."""
    try:
        there = next(path for path in (out, *out.absolute().parents) if path.exists())
        if not there.is_dir():
            raise UsageError(f"--out {there} is a file; name a folder")
        tempfile.TemporaryDirectory(dir=there).cleanup()
    except OSError as error:
        raise UsageError(f"cannot write to --out {out}: {error.strerror or error}; choose another folder") from None


class Run:
    """One run's folder, opened by ``Run.start`` (to write) or ``Run.open`` (to read)."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self.manifest = manifest
        self._lock: Any = None

    @classmethod
    def open(cls, folder: Path) -> Run:
        """An existing run. Raises DasExplainError when the folder holds none."""
        try:
            manifest = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DasExplainError(f"{folder} holds no run: run.json is missing; name the --out of an sfd run") from None
        except (OSError, ValueError) as error:
            raise DasExplainError(f"{folder / 'run.json'} cannot be read: {error}") from None
        if manifest.get("schema") != SCHEMA:
            raise DasExplainError(
                f"{folder} was written with schema {manifest.get('schema')}, this version reads {SCHEMA}: run sfd again"
            )
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
        run._take_lock()
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
        (folder / "frames").mkdir(exist_ok=True)
        run._write_json("run.json", manifest)
        _write_rows(folder / "sample.csv", ("index", "image", "label"), ((s.index, s.name, s.label) for s in samples))
        return run

    @property
    def journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def resume(self, batches: Sequence[Sequence[Sample]]) -> int:
        """How many of ``batches`` are already in the journal; what follows the last whole one is cut off."""
        if not self.journal.exists():
            return 0
        done, end, position = 0, 0, 0
        with self.journal.open("rb") as file:
            for batch in batches:
                for sample in batch:
                    line = file.readline()
                    position += len(line)
                    if not line.endswith(b"\n") or _index(line) != sample.index:
                        break
                else:
                    done, end = done + 1, position
                    continue
                break
        if end < self.journal.stat().st_size:
            os.truncate(self.journal, end)
        return done

    def append(self, records: Sequence[dict[str, Any]], frames: dict[str, bytes]) -> None:
        """Adds one batch: its frames first, then its records, flushed to the disk before it returns."""
        for name, content in frames.items():
            (self.folder / name).write_bytes(content)
        with self.journal.open("ab") as file:
            file.write(b"".join(map(json_line, records)))
            file.flush()
            os.fsync(file.fileno())

    def records(self) -> Iterator[dict[str, Any]]:
        """The journal, record by record."""
        with self.journal.open("rb") as file:
            for line in file:
                yield json.loads(line.decode("utf-8", "surrogateescape"))

    def finish(self) -> None:
        """Writes the tables, in the data set's order, and the counts by status."""
        from das_explain.stats import tables as stats

        order = {name: position for position, name in enumerate(self.manifest["sample"])}
        rows: list[tuple[int, list[dict], list[dict]]] = []
        for record in self.records():
            rows.append((order[record["image"]], record["scores"], record["nulls"]))
        rows.sort(key=lambda row: row[0])
        write_dicts(self.folder / "scores.csv", SCORE_COLUMNS, (score for _, scores, _ in rows for score in scores))
        write_dicts(self.folder / "nulls.csv", NULL_COLUMNS, (null for _, _, nulls in rows for null in nulls))

        scores, nulls = self.table("scores"), self.table("nulls")
        self._write_table("summary", stats.summarize(scores))
        self._write_table("comparison", stats.compare(scores))
        self._write_table("lift", stats.lift_over_nulls(scores, nulls))
        groups = self.manifest["groups"]
        if any(len(members) > 1 for members in groups.values()):
            by_member = {member: group for group, members in groups.items() for member in members}
            self._write_table("designs", stats.compare_groups(scores, by_member))
        self.manifest["counts"] = dict(sorted(Counter(scores["status"]).items()))
        self._write_json("run.json", self.manifest)

    def table(self, name: str):
        """A table of this run as a pandas DataFrame; labels and names stay text, whatever they look like."""
        import pandas as pd

        text = dict.fromkeys(("image", "model", "block", "label", "target", "predicted", "status", "null"), str)
        path = self.folder / f"{name}.csv"
        columns = pd.read_csv(path, nrows=0).columns
        return pd.read_csv(
            path,
            dtype={column: text[column] for column in columns if column in text},
            keep_default_na=False,
            na_values={column: [""] for column in columns if column not in text},
        )

    def _write_table(self, name: str, table) -> None:
        table.to_csv(self.folder / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        partial = self.folder / f"{name}.partial"
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(self.folder / name)

    def _differences(self) -> list[str]:
        """What sets this run apart from the one that the folder holds; a run that cannot be read differs in all."""
        try:
            before = Run.open(self.folder).manifest
        except DasExplainError:
            return ["run.json"]
        return [key for key in IDENTITY if before.get(key) != self.manifest.get(key)]

    def _has_results(self) -> bool:
        """Whether anything was scored: a run that failed before, for wrong weights perhaps, is nothing to lose."""
        return self.journal.exists() and self.journal.stat().st_size > 0

    def _take_lock(self) -> None:
        from filelock import FileLock, Timeout

        self._lock = FileLock(self.folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise DasExplainError(f"another process is writing to {self.folder}; choose another --out") from None

    def _clear(self) -> None:
        """Removes what a run has written, and nothing else that may lie in the folder."""
        for folder in ("frames", "report", "figures"):
            shutil.rmtree(self.folder / folder, ignore_errors=True)
        for pattern in ("run.json", "journal.jsonl", "*.csv"):
            for path in self.folder.glob(pattern):
                path.unlink()


def _index(line: bytes) -> int | None:
    try:
        return json.loads(line.decode("utf-8", "surrogateescape"))["index"]
    except (ValueError, KeyError, TypeError):
        return None


def package_versions() -> dict[str, str]:
    """Python, the platform and the packages that results depend on."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def json_line(record: dict[str, Any]) -> bytes:
    """A record as a line of a ``.jsonl`` file. Raises ValueError for NaN, which JSON does not have."""
    return (json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8", "surrogateescape")


def write_dicts(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Writes a CSV of these columns, whole or not at all; ``None`` is an empty cell."""
    _write_rows(path, columns, ([row[column] for column in columns] for row in rows))


def _write_rows(path: Path, columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    partial.replace(path)
