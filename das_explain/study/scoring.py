"""All copies of a study on each of its data sets: one pass over the photos, then the tables. Nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from das_explain.data.dataset import Dataset, open_dataset
from das_explain.data.draw import draw_sample
from das_explain.engines.collect import collect
from das_explain.errors import DasExplainError
from das_explain.evidence.run import Run
from das_explain.explain.contestants import ExplainOptions
from das_explain.explain.plan import Plan
from das_explain.files import write_json
from das_explain.folders import inside
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from das_explain.segment.choose import RegionOptions, choose_segmenter
from das_explain.study.folder import STATE, known_of
from das_explain.study.schema import ScoredOn, Study
from das_explain.study.units import Unit, fingerprint_of
from das_explain.types import Progress, no_progress


def score_options(study: Study) -> ScoreOptions:
    """Designs are compared, not one copy with another."""
    return ScoreOptions(measures=study.measures, nulls=study.nulls, pairs=False, designs=True).resolved()


def score_units(
    study: Study,
    units: Sequence[Unit],
    out: Path,
    *,
    engine: str = "local",
    device: str | None = None,
    batch: int = 16,
    workers: int | None = None,
    progress: Progress = no_progress,
    asking: Progress = no_progress,
    scoring: Progress = no_progress,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Run]:
    """Data set -> its scored run in ``out/runs``, all units in it as copies of their designs.

    ``note`` is told what a data set has to say about itself, such as files that were passed over.

    Raises DasExplainError: photos or masks cannot be used, weights that are needed are gone.
    """
    state = _State(out / STATE)
    runs = {}
    for name, data in study.data.items():
        folder, dataset = inside(out, f"runs/{name}"), open_data(data)
        for line in dataset.notes:
            note(line)
        wanted, there = _what(study, units, data, dataset, state), state.of(name)
        if not _whole(folder, wanted, there):
            if run := _explained(folder, wanted, there):
                run.lock()
            else:
                check_weights(units, folder)
                run = _explain(study, units, data, dataset, folder, engine, device, batch, workers, progress, asking)
            score_run(run, score_options(study), scoring)
            state.put(name, wanted)
            del run  # which has the folder's lock
        runs[name] = Run.open(folder)
    return runs


def check_weights(units: Sequence[Unit], folder: Path) -> None:
    """Raises DasExplainError if the weights of finished units, from which the run in ``folder`` is to be made, are gone."""
    if gone := [unit for unit in units if unit.finished and not unit.has_weights]:
        which = f"{', '.join(str(unit.folder) for unit in gone)} to train {'it' if len(gone) == 1 else 'them'} again"
        names = ", ".join(unit.name for unit in gone)
        raise DasExplainError(f"{folder} has to be made, but the weights of {names} were not kept: delete {which}")


def needs_weights(study: Study, units: Sequence[Unit], name: str, dataset: Dataset, out: Path) -> bool:
    """Whether photos of this data set have to be explained, as soon as all units are there."""
    state, data = _State(out / STATE), study.data[name]
    return not _explained(out / "runs" / name, _what(study, units, data, dataset, state), state.of(name))


def is_scored(study: Study, units: Sequence[Unit], name: str, out: Path) -> bool:
    """Whether nothing has to be done on a data set: all units are finished, and the run is of them."""
    if not all(unit.finished for unit in units):
        return False
    state = _State(out / STATE)
    return _whole(
        out / "runs" / name, _what(study, units, study.data[name], open_data(study.data[name]), state), state.of(name)
    )


def _whole(folder: Path, wanted: Any, there: Any) -> bool:
    """Whether nothing has to be done: the tables are those of this scoring, and ``run.json`` says so as well."""
    run = _explained(folder, wanted, there) if there == wanted else None
    return run is not None and {"scaling", "threshold", "box"} <= run.manifest.get("scoring", {}).keys()


def _explained(folder: Path, wanted: Any, there: Any) -> Run | None:
    """The run, if its evidence is whole, and that of these weights and photos, however it was scored."""
    read = ("scoring", "nulls")  # of evidence, and which of its answers
    alike = there is not None and all(there.get(key) == wanted.get(key) for key in {*there, *wanted} - {*read})
    if not alike or not (folder / "run.json").is_file() or (run := Run.open(folder)).shards.missing():
        return None
    if len(run.manifest["models"]) != len(wanted["weights"]):
        return None
    asked = not wanted.get("nulls") or (set(wanted["nulls"]) <= set(run.asked) and not run.unasked)
    return run if asked else None


def open_data(data: ScoredOn) -> Dataset:
    """The photos, with their masks."""
    return open_dataset(data.data, masks=Path(data.masks) if data.masks else None)


def _explain(
    study: Study,
    units: Sequence[Unit],
    data: ScoredOn,
    dataset: Dataset,
    folder: Path,
    engine: str,
    device: str | None,
    batch: int,
    workers: int | None,
    progress: Progress,
    asking: Progress = no_progress,
) -> Run:
    plan = Plan(
        models=tuple(f"{unit.design}={unit.model}" for unit in in_order(study, units)),
        samples=draw_sample(dataset, data.sample, 0),
        source=dataset.source,
        segmenter=choose_segmenter(dataset, RegionOptions(device=device)),
        labels=dataset.labels,
        label_map=data.classes,
        options=explaining_options(study),
        blocks=study.blocks,
        nulls=score_options(study).nulls,
        batch=batch,
        workers=workers,
        device=device,
    )
    return collect(plan, dataset, folder, engine=engine, overwrite=True, progress=progress, asking=asking)


def in_order(study: Study, units: Sequence[Unit]) -> list[Unit]:
    """Design by design, so that models stand in tables as the study names them: copy k of a design is ``DESIGN#k``."""
    return [unit for design in study.designs for unit in units if unit.design == design]


def explaining_options(study: Study) -> ExplainOptions:
    """How copies are explained."""
    return ExplainOptions(precision=study.precision, measures=score_options(study).network_measures)


def _what(study: Study, units: Sequence[Unit], data: ScoredOn, dataset: Dataset, state: _State) -> dict[str, Any]:
    """What a run rests on; the weights by their hash, also of those that are gone since."""
    weights = {}
    for unit in in_order(study, units):
        known = state.weights.get(unit.name)
        weights[unit.name] = fingerprint_of(unit) if unit.has_weights else known
    state.weights.update(weights)
    spec = asdict(data)
    del spec["about"]
    if spec.pop("label_map") is not None:  # what is in it; a study without one is what it was before there were any
        spec["classes"] = data.classes
    options = score_options(study)
    rests = {
        "data": {**spec, "fingerprint": dataset.fingerprint},
        "weights": weights,
        "blocks": study.blocks,
        "explaining": asdict(explaining_options(study)),
        "scoring": options.to_json(),
    }
    if options.network_measures:  # which are asked about them
        rests["nulls"] = options.nulls
    return json.loads(json.dumps(rests))


class _State:
    """``scored.json``: what each run was made of, written when its tables are whole: none of it is made again while that
    is the same. A file of anything else says nothing. Raises as ``known_of``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content = known_of(path)
        try:
            self.runs, self.weights = dict(content["runs"]), dict(content["weights"])
            for rests in self.runs.values():
                rests["data"].pop("about", None)  # of versions that explained all again where only this had changed
        except (ValueError, KeyError, TypeError, AttributeError):
            self.runs, self.weights = {}, {}

    def of(self, name: str) -> Any:
        """What the run was made of, or ``None``."""
        return self.runs.get(name)

    def put(self, name: str, rests: dict[str, Any]) -> None:
        """Remembers it."""
        self.runs[name] = rests
        write_json(self.path, {"runs": self.runs, "weights": self.weights})
