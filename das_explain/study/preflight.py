"""What would go wrong after hours of training, told before: every design is built, and of each set of photos some are opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from das_explain.batches.load import count_unread
from das_explain.checkpoint.load import load_model
from das_explain.checkpoint.matching import match_labels
from das_explain.checkpoint.model import LoadedModel
from das_explain.data.dataset import Dataset
from das_explain.data.draw import draw_sample
from das_explain.errors import DasExplainError
from das_explain.segment.choose import RegionOptions, choose_segmenter
from das_explain.study.schema import Study
from das_explain.study.scoring import check_weights, explaining_options, needs_weights, open_data, score_options
from das_explain.study.units import Unit
from das_explain.text import plural
from das_explain.train.task import create_task

LOOK = 64  # photos of each set that are opened


def check_study(study: Study, units: Sequence[Unit], out: Path, note: Callable[[str], None] = lambda _: None) -> None:
    """Raises UsageError or DasExplainError for what training and scoring would fail at; ``note`` is told of what may fail.

    A design whose units are all finished is not built again. Photos that have to be explained need the weights of
    finished units.
    """
    score_options(study)
    explaining_options(study).check()
    data: dict[str, Dataset] = {}
    for name in study.data:
        with _named(f"scored_on.{name}"):
            dataset = data[name] = open_data(study.data[name])
            some = draw_sample(dataset, study.data[name].sample, 0)[:LOOK]
            segmenter = choose_segmenter(dataset, RegionOptions())
            segmenter.identity()  # a finder's weights are looked for, and fetched
            if (unread := count_unread(dataset.source, some, segmenter)) == len(some):
                raise DasExplainError(f"not one of the first {plural(unread, 'photo')} can be read")
            if unread:
                note(f"{name}: {unread} of the first {plural(len(some), 'photo')} or their masks cannot be read")
        if segmenter.needs_networks:
            note(
                f"{name}: the photos have no masks: {segmenter.name} is to find the objects, and is loaded after training"
            )
    gone = any(unit.finished and not unit.has_weights for unit in units)
    for name, dataset in data.items() if gone else ():  # else no weights need be hashed here
        if needs_weights(study, units, name, dataset, out):
            check_weights(units, out / "runs" / name)
    for design in study.designs:
        first = next((unit for unit in units if unit.design == design and not unit.finished), None)
        if first is not None:
            with _named(f"designs.{design}"):
                _check_labels(study, _build(study, first), data)


def _build(study: Study, unit: Unit) -> LoadedModel:
    """The unit's network, untrained, with the blocks that are to be explained."""
    recipe = unit.load()
    task = create_task(recipe)
    network = task.build(Console(quiet=True)).eval()
    return load_model(network, labels=task.labels, size=recipe.input.size, blocks=study.blocks or None, device="cpu")


def _check_labels(study: Study, model: LoadedModel, data: Mapping[str, Dataset]) -> None:
    for name, dataset in data.items():
        if dataset.labels is not None:
            with _named(f"scored_on.{name}"):
                match_labels(dataset.labels, model, study.data[name].classes)


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Errors say where in the study's file they come from."""
    try:
        yield
    except DasExplainError as error:
        raise type(error)(f"{where}: {error}") from None
