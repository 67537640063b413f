"""A run's evidence -> its tables. No network is loaded; memory grows with the images by a few numbers each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pandas as pd

from das_explain.data.assumptions import Assumed
from das_explain.devices import check_device, describe_device, find_device, one_thread
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence import tables
from das_explain.evidence.run import Run
from das_explain.evidence.staging import new_tables
from das_explain.evidence.tables import TableWriter, write_parts, write_table
from das_explain.evidence.values import Evidence, Key
from das_explain.evidence.whole import WholeSample
from das_explain.measures import MEASURES
from das_explain.nulls import NULLS
from das_explain.scoring.all_values import AllValues
from das_explain.scoring.best_iou import BestIou
from das_explain.scoring.designs import write_designs
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.parts import read_parts
from das_explain.scoring.reading_table import ReadingTable
from das_explain.scoring.regions import RegionTable
from das_explain.scoring.rows import measure_rows, null_rows, score_columns
from das_explain.scoring.scorer import FAINT, ModelFacts, Scorer
from das_explain.scoring.verdict import Centres, write_readings, write_verdict_tables
from das_explain.stats.intervals import caution
from das_explain.stats.resampling import forget
from das_explain.stats.tables import COMPARISON, compare, lift_table, summarize
from das_explain.types import Progress, no_progress

COMPARED = ("model", "block", "label", "correct", "r_area", "sfd", "status")  # of scores.csv


def score_run(
    run: Run,
    options: ScoreOptions | None = None,
    progress: Progress = no_progress,
    *,
    processes: int = 1,
    device: str = "cpu",
) -> None:
    """Writes a run's tables, in the data set's order, and what they rest on into ``run.json``.

    All tables are new or all are as they were. Those of an unfinished run are of the images whose evidence is there, and
    ``run.json`` says so (``scored``; ``Run.part``).

    ``options``: how; ``None``: as the run was scored before, or by default. ``progress`` is told of images. ``processes``:
    how many may read the evidence of a long run; each starts the program anew, as ``multiprocessing`` does, so that a
    script which asks for several needs its ``if __name__ == "__main__"``. They move no number. ``device``: where maps are
    resized and measured, ``cpu`` or ``cuda``; another than the last time may move the seventh digit.

    Raises:
        UsageError: an option that does not exist, or does not go with these models; a device that is not there.
        DasExplainError: there is no evidence, or it is damaged, or the disk cannot be written.
    """
    if options is None:
        before = run.manifest.get("scoring")
        options = ScoreOptions.from_json(before) if before else ScoreOptions()
    options = options.resolved()
    check_options(options, run)
    check_device(device)
    images = run.seen
    if run.sample and not images:
        raise DasExplainError(f"{run.folder}: no part of the evidence is there yet: run the same sfd command again")
    models = read_model_facts(run)
    values, centres, regions = AllValues(), Centres(), RegionTable(options)
    best_iou = BestIou(options)
    counts: Counter[str] = Counter()
    notes = _Assumptions(run)
    done = 0
    with ExitStack() as open_files:
        open_files.enter_context(one_thread())
        open_files.callback(values.close)
        whole = open_files.enter_context(closing(WholeSample(run, [NULLS[name] for name in options.nulls])))
        scorer = Scorer(models, options, whole, asked=run.asked, device=device)
        readings = ReadingTable(models, options) if options.readings else None
        if readings is not None:
            open_files.callback(readings.close)
        folder = open_files.enter_context(new_tables(run))
        with ExitStack() as written:
            writers = {
                name: written.enter_context(TableWriter(folder / f"{name}.csv", columns))
                for name, columns in (("scores", tables.SCORES), ("measures", tables.MEASURES), ("nulls", tables.NULLS))
            }
            parts = written.enter_context(closing(read_parts(run, scorer, processes)))
            for evidence, scored, read, curves, alternatives in parts:
                rows = score_columns(models, evidence, scored)
                writers["scores"].add(rows)
                writers["measures"].add(measure_rows(evidence, scored))
                writers["nulls"].add(null_rows(evidence, scored))
                counts.update(rows["status"])
                notes.add(evidence, models, rows)
                values.add(scored)
                centres.add(evidence)
                regions.add(alternatives)
                best_iou.add(scored, curves)
                if readings is not None:
                    readings.add(evidence, scored, read)
                done += len(evidence)
                progress(done, len(images))
        scores = tables.read_table(folder / "scores.csv", only=COMPARED)
        scores["image"] = _numbered(images, len(scores))
        _write_statistics(folder, scores, values, options)
        write_verdict_tables(folder, scores, values, centres, options)
        forget()
        run.manifest["verdicts"] = write_readings(folder, readings, scores, options)
        best_iou.write(folder)
        run.manifest["region_uncertainty"] = regions.write(folder)
        write_designs(run, folder, scores, values.frame, readings, options)
        run.manifest["scoring"] = options.to_json()
    part = (
        [] if len(images) == len(run.sample) else [f"the run is unfinished: {len(images)} of {len(run.sample)} images"]
    )
    if options.network_measures and (unasked := run.unasked):
        part.append(f"the networks have not been asked about blind maps on {unasked} of {len(run.sample)} images yet")
    run.manifest["counts"] = dict(sorted(counts.items()))
    run.manifest["assumptions"] = [*part, *run.manifest.get("explaining_assumptions", []), *notes.sentences(scores)]
    where = describe_device(find_device(device))
    run.manifest["scored"] = {"images": len(images), "of": len(run.sample), "device": where}
    run.save_manifest()


def check_options(options: ScoreOptions, run: Run) -> None:
    """Raises UsageError for options that this run's evidence cannot answer."""
    if options.baseline is not None and options.baseline not in run.models:
        raise UsageError(
            f"--baseline {options.baseline}: no model is called so; the run's models are {', '.join(run.models)}"
        )
    keys = {geometry.key: model for model, geometry in reversed(run.geometries.items())}
    if options.box == "shared" and len(keys) > 1:
        a, b = list(keys.values())[-1], list(keys.values())[-2]
        raise UsageError(f"--box shared needs models that see the same frame; {a} and {b} resize or crop differently")
    there = run.manifest["options"].get("measures") or ()
    absent = [name for name in options.measures if MEASURES[name].needs_network and name not in there]
    if absent:
        raise UsageError(
            f"--measure {absent[0]} asks the networks, and {run.folder} was explained without it: run sfd with it and "
            "another --out"
        )
    strange = [name for name in options.nulls if name not in run.asked]
    if (
        options.network_measures and run.asked and strange and "joined" not in run.manifest
    ):  # a run of before any were asked about has no such lifts
        raise UsageError(
            f"--nulls {strange[0]}: the networks were not asked about such maps ({', '.join(options.network_measures)}): "
            "run the same sfd command with it, which adds that alone"
        )


def read_model_facts(run: Run) -> list[ModelFacts]:
    """What ``run.json`` knows of the models."""
    facts = []
    needs_label = run.manifest["options"].get("target", "label") == "label"
    for entry in run.manifest["models"]:
        labels, logit = entry.get("labels"), entry.get("logit") or {}
        facts.append(ModelFacts(str(entry["name"]), tuple(map(str, entry["blocks"])), labels, logit, needs_label))
    return facts


def _numbered(images: Sequence[str], rows: int) -> pd.Categorical:
    """The column ``image`` of the rows of scores.csv as numbers that sort as the names do, which take far more room."""
    ranks = np.empty(len(images), np.int32)
    ranks[np.argsort(np.array(images, dtype=object), kind="stable")] = np.arange(len(images))
    return pd.Categorical.from_codes(np.repeat(ranks, rows // max(1, len(images))), pd.RangeIndex(len(images)))


def _write_statistics(folder: Path, scores: pd.DataFrame, values: AllValues, options: ScoreOptions) -> None:
    write_table(folder / "summary.csv", summarize(scores))
    compared = compare(scores, baseline=options.baseline) if options.pairs else pd.DataFrame(columns=COMPARISON)
    write_table(folder / "comparison.csv", compared)
    write_parts(folder, "lift", (lift_table(values.differences_from_nulls(measure)) for measure in options.measures))


class _Assumptions:
    """What the evidence shows of choices that change numbers."""

    def __init__(self, run: Run) -> None:
        self.target = run.manifest["options"].get("target")
        self.photos = self.differing = self.unlabelled = 0
        self.faint: Counter[Key] = Counter()
        self.masks = Assumed()

    def add(self, evidence: Evidence, models: Sequence[ModelFacts], rows: Mapping[str, np.ndarray]) -> None:
        """Counts the images of some evidence, and the faint maps among its lines of ``scores.csv``."""
        shown = evidence.shown
        self.photos += len(shown)
        self.unlabelled += sum(evidence.photos[i].label is None for i in shown)
        names = [
            [model.labels[i] if model.labels else str(i) for i in evidence.logits[model.name].target]
            for model in models
            if model.name in evidence.logits
        ]
        faint = rows["status"] == "faint_cam"
        self.faint.update(Key(*pair) for pair in zip(rows["model"][faint], rows["block"][faint]))
        for photo in evidence.photos:
            self.masks.add(photo.image, photo.region.get("assumed"))
        self.differing += sum(len(set(classes)) > 1 for classes in zip(*names)) if len(names) > 1 else 0

    def sentences(self, scores: pd.DataFrame) -> list[str]:
        """One each, for people. ``scores`` are of all images."""
        told = self.masks.sentences()
        if self.target == "label" and self.unlabelled:
            which = (
                "the images have no labels"
                if self.unlabelled == self.photos
                else f"{self.unlabelled} of {self.photos} images have no label"
            )
            told.append(f"{which}: each model's own prediction is explained there")
        if self.differing:
            told.append(f"models explain different classes on {self.differing} of {self.photos} images")
        for key, count in self.faint.items():
            told.append(
                f"each map is scaled to its own greatest weight, however faint: of {key.model} at {key.block} that was below "
                f"{FAINT:g} of the largest logit (faint_cam) on {count} of {self.photos} images"
            )
        counts = scores[scores["sfd"].notna()].groupby(["model", "block"], observed=True, sort=False).size()
        if len(counts) and (told_of := caution(int(counts.min()), "images of {} at {}".format(*counts.idxmin()))):
            told.append(told_of)
        return told
