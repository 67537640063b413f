"""The main job as one call: a data set, models, a folder -> a finished run. What ``sfd`` and ``demo`` do."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from das_explain.batches.load import Batch, killed_workers_told, load_batches
from das_explain.cam.fast import fast_copy
from das_explain.cam.methods import METHODS
from das_explain.checkpoint.load import load_model, match_labels
from das_explain.checkpoint.model import LoadedModel
from das_explain.data.dataset import Dataset, draw_sample
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence.run import Run
from das_explain.explain.evaluate import Contestant, Options, evaluate
from das_explain.measures.sfd import BOXES, SCALINGS
from das_explain.segment import Progress, Segmenter
from das_explain.segment.cached import apart
from das_explain.types import Sample


@dataclass(frozen=True)
class Plan:
    """What to score and how. ``models`` are specs; a name given twice makes one group of checkpoints (one design)."""

    models: tuple[str, ...]
    out: Path
    options: Options = Options()
    blocks: tuple[str, ...] = ()
    sample: int | None = None
    stratified: bool = False
    seed: int = 0
    batch: int = 16
    workers: int | None = None
    device: str | None = None
    overwrite: bool = False


def score_dataset(
    dataset: Dataset,
    segmenter: Segmenter,
    plan: Plan,
    progress: Progress = lambda done, of: None,
    finding: Progress = lambda done, of: None,
) -> Run:
    """Runs, or continues, a run to its end, tables included. ``finding`` tells of masks that are made on the way.

    Raises:
        UsageError: options, names or blocks that do not exist or do not go together.
        DasExplainError: a model that cannot be loaded, labels that do not match, a folder that holds another run.
    """
    check_options(plan.options)
    samples = draw_sample(dataset, plan.sample, plan.seed, plan.stratified)
    contestants, groups = load_contestants(plan.models, dataset.labels, plan.blocks, plan.device, plan.options)
    batches = _random_batches(samples, plan.batch, plan.seed)
    manifest = _manifest(dataset, segmenter, plan, contestants, groups, len(samples))
    run = Run.start(plan.out, manifest, samples, overwrite=plan.overwrite)
    finished = run.resume(batches)
    done = sum(map(len, batches[:finished]))
    progress(done, len(samples))
    with killed_workers_told():
        loaded = batches_for(contestants, dataset, batches[finished:], segmenter, workers=plan.workers, finding=finding)
        for records, frames in evaluate(contestants, loaded, plan.options):
            run.append(records, frames)
            done += len(records)
            progress(done, len(samples))
    run.finish()
    return run


def batches_for(
    contestants: Sequence[Contestant],
    dataset: Dataset,
    samples: Sequence[Sample] | Sequence[Sequence[Sample]],
    segmenter: Segmenter | None,
    **options: Any,
) -> Iterator[Batch]:
    """``load_batches`` in every contestant's geometry, with masks found ahead where that does not slow them down."""
    geometries = [contestant.model.preprocess.geometry for contestant in contestants]
    ahead = apart(segmenter, next(contestants[0].network.parameters()).device)
    return load_batches(dataset, samples, geometries, segmenter, ahead=ahead, **options)


def check_options(options: Options) -> None:
    """Raises UsageError for a value that does not exist, before anything is loaded."""
    for name, value, known in (
        ("--method", options.method, METHODS),
        ("--scaling", options.scaling, SCALINGS),
        ("--box", options.box, (*BOXES, "shared")),
        ("--precision", options.precision, ("fp32", "bf16")),
    ):
        if value not in known:
            raise UsageError(f"{name} {value!r} is unknown; choose among {', '.join(known)}")
    if not 0 < options.threshold <= 1:
        raise UsageError(f"--threshold must lie in (0, 1], not {options.threshold}")
    if options.precision == "bf16" and options.method != "gradcam":
        raise UsageError("--precision bf16 works with --method gradcam only")


def load_contestants(
    specs: Sequence[str],
    labels: Sequence[str] | None,
    blocks: Sequence[str],
    device: str | None,
    options: Options,
) -> tuple[list[Contestant], dict[str, list[str]]]:
    """Loads the models and matches the data's labels to their logits; also group name -> members' names.

    ``blocks``: any modules' dotted names, the same for every model; none: the last two blocks of each.
    """
    models = [load_model(spec, device=device, blocks=blocks or None) for spec in specs]
    geometries = {model.preprocess.geometry: model for model in models}
    if options.box == "shared" and len(geometries) > 1:
        names = " and ".join(model.name for model in list(geometries.values())[:2])
        raise UsageError(f"--box shared needs models that see the same frame; {names} resize or crop differently")
    groups: dict[str, list[str]] = {}
    for model in models:
        groups.setdefault(model.name, []).append(model.name)
    for group, members in groups.items():
        if len({model.config["gates"] for model in models if model.name == group}) > 1:
            raise UsageError(f"{group} names models with other +gates=: copies of one design they are not; name each")
        if len(members) > 1:
            members[:] = [f"{group}#{copy + 1}" for copy in range(len(members))]
    names = {group: iter(members) for group, members in groups.items()}
    models = [replace(model, name=next(names[model.name])) for model in models]
    return [_contestant(model, labels, options, every_block=bool(blocks)) for model in models], groups


def _contestant(model: LoadedModel, labels: Sequence[str] | None, options: Options, *, every_block: bool) -> Contestant:
    blocks = model.blocks if every_block else dict(list(model.blocks.items())[-2:])
    size = model.preprocess.geometry.size
    network, blocks = fast_copy(model.network, blocks, size, method=options.method, precision=options.precision)
    logit = match_labels(labels, model) if labels else {}
    if options.target not in ("label", "predicted") and options.target not in logit:
        try:
            logit |= match_labels((options.target,), model)
        except DasExplainError:
            raise UsageError(
                f"--target {options.target!r} is no class of {model.name}; it may also be label or predicted"
            ) from None
    return Contestant(model, network, blocks, logit)


def _random_batches(samples: Sequence[Sample], size: int, seed: int) -> list[list[Sample]]:
    """Batches in random order: the shuffled-map null pairs each map with another image of its batch."""
    order = np.random.default_rng(seed).permutation(len(samples))
    return [[samples[i] for i in order[start : start + size]] for start in range(0, len(samples), size)]


def _manifest(
    dataset: Dataset,
    segmenter: Segmenter,
    plan: Plan,
    contestants: Sequence[Contestant],
    groups: dict[str, list[str]],
    count: int,
) -> dict:
    return {
        "command": sys.argv,
        "seed": plan.seed,
        "batch": plan.batch,
        "device": str(next(contestants[0].network.parameters()).device),
        "models": [
            {
                "name": contestant.name,
                "spec": contestant.model.spec,
                "fingerprint": contestant.model.fingerprint,
                "blocks": list(contestant.blocks),
                "preprocess": contestant.model.preprocess.to_config(),
                "n_labels": len(contestant.model.labels or ()),
            }
            for contestant in contestants
        ],
        "groups": groups,
        "data": {
            "spec": dataset.spec,
            "fingerprint": dataset.fingerprint,
            "count": len(dataset.samples),
            "sampled": count,
            "stratified": plan.stratified,
        },
        "options": asdict(plan.options),
        "segmenter": {"name": segmenter.name, **segmenter.identity()},
    }


def publish(run: Run) -> Path:
    """Draws a finished run's figures and writes its report; the path of the report's index.html."""
    from das_explain.figures import plots as figures
    from das_explain.report import build_report

    scores = run.table("scores")
    folder = run.folder / "figures"
    folder.mkdir(exist_ok=True)
    if (scores["status"] == "ok").any():
        figures.save(figures.distribution_figure(scores), folder / "distribution")
        figures.save(figures.lift_figure(run.table("lift")), folder / "lift")
    for number, (a, b) in enumerate(run.table("comparison")[["model_a", "model_b"]].drop_duplicates().to_numpy()):
        figures.save(figures.scatter_figure(scores, a, b), folder / f"paired-{number + 1}")
    return build_report(run.folder)
