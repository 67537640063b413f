"""What ``das-explain evaluate`` does: models and data in, tables out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, islice
from typing import TYPE_CHECKING, Any

import pandas as pd

from das_explain.accuracy import classifiers as accuracy
from das_explain.accuracy.average_precision import METRICS, AveragePrecision, average_precision, coco_eval, percentiles
from das_explain.accuracy.detectors import detect, load_detector
from das_explain.accuracy.folder import Request, begin, identity_of, write_evaluation
from das_explain.accuracy.journal import Journal
from das_explain.batches.load import load_batches
from das_explain.batches.workers import killed_workers_told
from das_explain.data.coco.objects import open_objects
from das_explain.data.dataset import open_dataset
from das_explain.data.draw import draw_sample
from das_explain.devices import describe_device
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.provenance import maker, sentences
from das_explain.explain.contestants import Contestant, ExplainOptions, load_contest

if TYPE_CHECKING:
    from das_explain.data.coco.objects import ObjectDataset
    from das_explain.types import Progress, Sample

BATCH = 16


@dataclass(frozen=True)
class Measured:
    """The tables by file name without ``.csv``, how many rows have which status, sentences for a person, and image ->
    why it could not be read."""

    tables: dict[str, pd.DataFrame]
    counts: dict[str, int]
    notes: list[str] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)


def measure_classifiers(request: Request, progress: Progress = lambda done, of: None) -> Measured:
    """Top-1 and top-5 with intervals, by class and paired between models.

    Raises:
        UsageError: the data has no labels, an option does not go with it.
        DasExplainError: a model cannot be loaded, labels do not match, the folder holds something else.
    """
    dataset = open_dataset(request.data, split=request.split, root=request.root)
    if dataset.labels is None:
        raise UsageError(
            f"{request.data} has no labels, so nothing can be right or wrong: sort it into folders by class"
        )
    samples = draw_sample(dataset, request.sample, request.seed, request.stratified)
    contest = load_contest(
        request.models,
        dataset.labels,
        ExplainOptions(),
        device=request.device,
        label_files=request.label_files,
        label_map=request.label_map,
    )
    contestants, geometries = contest.contestants, contest.geometries
    models = [_about(each.model, each.name) for each in contestants]
    begin(request, models, dataset.fingerprint)
    batch = request.batch or BATCH
    with (
        killed_workers_told(),
        Journal(
            request.out,
            identity_of(request, models, dataset.fingerprint),
            maker(describe_device(contestants[0].device)),
            batch,
        ) as journal,
    ):
        rows, before = [row for rows in journal.done for row in rows], len(journal.done)
        batches = load_batches(dataset.source, samples[before:], geometries, batch_size=batch, workers=request.workers)
        predicted = accuracy.predict(
            contestants, batches, len(samples) - before, lambda done, _: progress(before + done, len(samples))
        )
        while mine := list(islice(predicted, len(contestants))):
            journal.add(mine)
            rows += mine
    predictions = pd.DataFrame(rows, columns=accuracy.PREDICTIONS).astype({"rank": "Int64"})
    counts = dict(Counter(predictions["status"]))
    if "ok" not in counts:
        reasons = [message for message in predictions["message"] if message]
        said = f"not one image could be scored: {_words(counts)}"
        raise DasExplainError(f"{said}; {reasons[0]}" if reasons else said)
    classes = {each.name: each.model.config["num_classes"] for each in contestants}
    tables = {
        "predictions": predictions,
        "accuracy": accuracy.accuracy_table(predictions, classes),
        "classes": accuracy.class_table(predictions, classes),
        "comparison": accuracy.comparison_table(predictions, list(classes)),
    }
    made_by = journal.made_by(len(samples))
    assumed = [*contest.assumptions, *sentences(made_by)]
    notes = [*dataset.notes, *assumed]
    notes += [
        f"{name}: no top-5, as it has only {count} classes" for name, count in classes.items() if count <= accuracy.K
    ]
    notes += [each for contestant in contestants for each in _other_reading(contestant, predictions)]
    write_evaluation(
        request, models, dataset.fingerprint, len(samples), tables, counts, made_by=made_by, assumptions=assumed
    )
    unread = predictions[predictions["status"] == "unreadable"]
    return Measured(tables, counts, notes, dict(zip(unread["image"], unread["message"])))


def _other_reading(contestant: Contestant, predictions: pd.DataFrame) -> Iterator[str]:
    """What the accuracy would be if the classes' names were read the other way."""
    if contestant.other_logit:
        mine = predictions[(predictions["model"] == contestant.name) & (predictions["status"] == "ok")]
        other = mine["label"].map(lambda label: contestant.class_name(contestant.other_logit[label]))
        right = (mine["rank"] == 1).mean(), (mine["predicted"] == other).mean()
        yield (
            f"{contestant.name}: the classes' names can be read in two ways: top-1 {right[0]:.1%} as "
            f"taken here, {right[1]:.1%} the other way (--label-map says which)"
        )


def measure_detectors(
    request: Request, progress: Progress = lambda done, of: None, drawing: Progress = lambda done, of: None
) -> Measured:
    """COCO's AP with bootstrap intervals, by category and paired between detectors; ``drawing`` tells of the bootstrap.

    Raises:
        UsageError: the data is no COCO file, a model no detector, an option does not go with them.
        DasExplainError: a model cannot be loaded, categories do not match, the folder holds something else.
    """
    given = {
        "--stratified": request.stratified,
        "--split": request.split,
        "--root": request.root,
        "--batch": request.batch,
        "--labels": any(request.label_files),
    }
    if foreign := [name for name, value in given.items() if value]:
        raise UsageError(
            f"{foreign[0]} does not go with a COCO file: detectors see one photo at a time and name their classes themselves"
        )
    coco_eval()
    data = open_objects(request.data)
    samples = draw_sample(data, request.sample, request.seed)
    detectors = [load_detector(spec, device=request.device) for spec in request.models]
    names = [each.name for each in detectors]
    if len(set(names)) < len(names):
        raise UsageError("two detectors have the same name: write NAME=SPEC")
    models = [_about(each, each.name) for each in detectors]
    begin(request, models, data.fingerprint)
    images, tested, found = [], [], [[] for _ in detectors]
    identity = identity_of(request, models, data.fingerprint)
    device = describe_device(next(detectors[0].network.parameters()).device)
    with killed_workers_told(), Journal(request.out, identity, maker(device)) as journal:
        before = len(journal.done)
        new = detect(
            detectors,
            data,
            samples[before:],
            workers=request.workers,
            progress=lambda done, _: progress(before + done, len(samples)),
        )
        known = ((sample, *line) for sample, line in zip(samples, journal.done))
        for number, (sample, message, results) in enumerate(chain(known, new)):
            if number >= before:
                journal.add([message, results])
            images.append(_image_row(sample, message, data, dict(zip(names, results))))
            if not message:
                tested.append(sample)
                for mine, each in zip(found, results):
                    mine += each
    counts = dict(Counter(row["status"] for row in images))
    if not tested:
        raise DasExplainError(f"not one image could be read: {images[0]['message']}")
    total = request.draws * len(detectors)
    scores = {}
    for place, (name, mine) in enumerate(zip(names, found)):
        before = place * request.draws
        scores[name] = average_precision(
            data,
            tested,
            mine,
            draws=request.draws,
            seed=request.seed,
            progress=lambda done, _, before=before: drawing(before + done, total),
        )
    tables = {
        "images": pd.DataFrame(images).astype({f"found_{name}": "Int64" for name in names}),
        "ap": pd.DataFrame([_ap_row(name, len(tested), ap) for name, ap in scores.items()]),
        "classes": pd.DataFrame(_category_rows(scores, data, tested)),
        "comparison": pd.DataFrame(_ap_differences(scores, len(tested))),
    }
    known = data.categories.values()
    lacking = {each.name: [name for name in known if name not in each.labels] for each in detectors}
    notes = [
        f"{name} has no class {', '.join(unknown[:3])}: {len(unknown)} categories with AP 0"
        for name, unknown in lacking.items()
        if unknown
    ]
    made_by = journal.made_by(len(samples))
    notes += (assumed := sentences(made_by))
    write_evaluation(
        request, models, data.fingerprint, len(samples), tables, counts, found, made_by=made_by, assumptions=assumed
    )
    return Measured(tables, counts, notes, {row["image"]: row["message"] for row in images if row["message"]})


def _about(model: Any, name: str) -> dict[str, str]:
    return {"name": name, "spec": model.spec, "fingerprint": model.fingerprint}


def _image_row(
    sample: Sample, message: str, data: ObjectDataset, results: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    found = {f"found_{name}": None if message else len(mine) for name, mine in results.items()}
    status = "unreadable" if message else "ok"
    return {"image": sample.name, "objects": len(data.objects(sample)), **found, "status": status, "message": message}


def _ap_row(name: str, images: int, ap: AveragePrecision) -> dict[str, Any]:
    row: dict[str, Any] = {"model": name, "n": images}
    for metric, value in ap.values.items():
        low, high = ap.interval(metric)
        row |= {metric: value, f"{metric}_low": low, f"{metric}_high": high}
    return row


def _category_rows(
    scores: dict[str, AveragePrecision], data: ObjectDataset, tested: Sequence[Sample]
) -> list[dict[str, Any]]:
    objects = Counter(
        each["category_id"] for sample in tested for each in data.objects(sample) if not each.get("iscrowd")
    )
    return [
        {"model": name, "category": data.categories[number], "objects": objects[number], **values}
        for name, ap in scores.items()
        for number, values in ap.classes.items()
    ]


def _ap_differences(scores: dict[str, AveragePrecision], images: int) -> list[dict[str, Any]]:
    """b - a, with the interval of the difference over the same draws of images."""
    rows = []
    for a, b in combinations(scores, 2):
        differences = scores[b].resampled - scores[a].resampled
        for place, metric in enumerate(METRICS):
            value_a, value_b = scores[a].values[metric], scores[b].values[metric]
            low, high = percentiles(differences[:, place])
            difference = None if value_a is None or value_b is None else value_b - value_a
            rows.append(
                {
                    "metric": metric,
                    "model_a": a,
                    "model_b": b,
                    "n": images,
                    "a": value_a,
                    "b": value_b,
                    "difference": difference,
                    "ci_low": low,
                    "ci_high": high,
                }
            )
    return rows


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items())
