"""Explaining a sample into a run's folder: only the shards that are missing are made, by whichever engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from das_explain.data.dataset import Dataset
from das_explain.devices import describe_device
from das_explain.engines import create_engine
from das_explain.engines.asking import ask_about_nulls
from das_explain.engines.cluster import Cluster
from das_explain.errors import UsageError
from das_explain.evidence.provenance import photos_at_once
from das_explain.evidence.run import Run
from das_explain.explain.explainer import Explainer
from das_explain.explain.plan import Plan
from das_explain.nulls import NULLS
from das_explain.segment.masks import assume_of_regions
from das_explain.types import Progress, no_progress


def collect(
    plan: Plan,
    dataset: Dataset,
    out: Path,
    *,
    seed: int = 0,
    stratified: bool = False,
    engine: str = "local",
    cluster: Cluster | None = None,
    scoring: dict[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
    finding: Progress = no_progress,
    asking: Progress = no_progress,
    check: Callable[[Run], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
) -> Run:
    """Begins, or continues, the run in ``out`` until its evidence is whole.

    ``plan.samples`` were drawn from ``dataset`` with ``seed``. ``progress`` is told of images explained, of all of them;
    ``finding`` of masks made on the way, ``asking`` of images on which networks were asked about null maps. ``cluster``: what ``ray`` is asked for. ``scoring``: how the run is to be scored,
    for whoever finds it cut off. ``check`` is shown the run before anything is written or explained; ``note`` is told when
    the run goes on under other versions.

    Raises:
        UsageError: options, names or blocks that do not exist or do not go together.
        DasExplainError: a model that cannot be loaded, labels that do not match, a folder that holds another run.
    """
    plan.options.check()
    if unknown := [name for name in plan.nulls if name not in NULLS]:
        raise UsageError(f"--nulls {unknown[0]!r} is unknown; choose among {', '.join(NULLS)}")
    how = create_engine(engine, cluster)
    explainer = plan.explainer()
    manifest = _manifest(plan, dataset, explainer, seed, stratified) | {"engine": engine}
    check(Run(out, manifest))
    if scoring is not None:
        manifest["scoring"] = scoring
    run = Run.start(out, manifest, plan.samples, overwrite=overwrite)
    missing = run.shards.missing()
    if missing:
        for sentence in run.other_makers(describe_device(explainer.contest.contestants[0].device)):
            note(sentence)
    total = len(plan.samples)
    before = total - sum(run.shards.images(number) for number in missing)
    progress(before, total)
    shards = how.run(plan, missing, explainer, lambda done, of: progress(before + done, total), finding)
    for shard in shards:
        run.shards.write(shard.number, shard.table)
        run.manifest["batch"] = min(run.manifest["batch"], photos_at_once(shard.table) or plan.batch)
    ask_about_nulls(run, plan, explainer, asking)
    run.record_makers()
    return run


def _manifest(plan: Plan, dataset: Dataset, explainer: Explainer, seed: int, stratified: bool) -> dict[str, Any]:
    contest, segmenter = explainer.contest, plan.segmenter
    asked = {"asked": list(plan.nulls)} if plan.options.measures and plan.nulls else {}
    return asked | {
        "command": sys.argv,
        "seed": seed,
        "device": str(contest.contestants[0].device),
        "batch": plan.batch,
        "models": [contestant.entry() for contestant in contest.contestants],
        "groups": contest.groups,
        "data": {
            "spec": dataset.spec,
            "fingerprint": dataset.fingerprint,
            "count": len(dataset.samples),
            "sampled": len(plan.samples),
            "stratified": stratified,
        },
        "options": asdict(plan.options),
        "segmenter": {"name": "none"} if segmenter is None else {"name": segmenter.name, **segmenter.identity()},
        "explaining_assumptions": [*contest.assumptions, *assume_of_regions(segmenter, plan.samples, unread=True)],
    }
