"""The networks asked about maps that know nothing of the photos: when all photos have been explained, since another photo's
map and where objects usually are is known only then. In this process, whatever engine explained them."""

from __future__ import annotations

from contextlib import closing

from das_explain.batches.workers import killed_workers_told
from das_explain.engines.shard import batches_of
from das_explain.evidence.codec import encode
from das_explain.evidence.provenance import asked, asked_about, at_once_of
from das_explain.evidence.run import ALL, Run
from das_explain.evidence.whole import WholeSample
from das_explain.explain.explainer import Explainer
from das_explain.explain.null_maps import NullMaps
from das_explain.explain.plan import Plan
from das_explain.nulls import NULLS
from das_explain.types import Progress


def ask_about_nulls(run: Run, plan: Plan, explainer: Explainer, progress: Progress) -> None:
    """Adds to the shards of a run whose evidence is whole what they lack of ``run.asked``, each whole or not at all.

    ``progress`` is told of images, of all of them.
    """
    shards, wanted = run.shards, [name for name in run.asked if name in NULLS]  # run.json may be of a stranger
    if run.asked:
        run.manifest["asked"] = wanted
    present = shards.present() if wanted else []
    known = {number: asked_about(shards.path(number)) for number in present}
    parts = batches_of(plan, [number for number, there in known.items() if set(wanted) - set(there)])
    if not parts:
        return
    if sizes := list(filter(None, (at_once_of(shards.path(number)) for number in known))):
        explainer.fitting.most = min(sizes)  # found in another process, perhaps
    order = [part for each in parts.values() for part in each]
    done, total = len(plan.samples) - sum(map(len, order)), len(plan.samples)
    progress(done, total)
    with closing(WholeSample(run, [NULLS[name] for name in wanted])) as whole, killed_workers_told():
        batches = explainer.batches(plan.source, order, None, workers=plan.workers)
        for number, part in parts.items():
            (evidence,) = run.evidence(ALL, [number])
            fresh = [NULLS[name] for name in wanted if name not in known[number]]
            names = {null.name for null in fresh}  # of an answer that was not stamped nothing is kept
            evidence.nulls = {at: answer for at, answer in evidence.nulls.items() if at[2] not in names}
            fakes = NullMaps(whole, fresh, evidence, whole.first(present.index(number)))
            start = lost = 0
            for _ in part:
                batch = next(batches)
                lost += explainer.ask(batch, start, fakes)
                start += len(batch)
                done += len(batch)
                progress(done, total)
            # Photos that cannot be read now are asked about by the next command.
            done_now = [*known[number], *(wanted if not lost else ())]
            shards.write(number, asked(encode(evidence), list(dict.fromkeys(done_now)), shards.path(number)))
