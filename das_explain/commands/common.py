"""What several commands share: what is loaded, run and said, and bars that show how far it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from das_explain.commands.readable import check_readable
from das_explain.commands.say import say
from das_explain.signals import stop_if_asked
from das_explain.text import plural

if TYPE_CHECKING:
    from rich.progress import TaskID

    from das_explain.commands.options import Data, Maps, Models, Running
    from das_explain.commands.regions import Regions
    from das_explain.data.dataset import Dataset
    from das_explain.evidence.run import Run
    from das_explain.explain.contestants import Contest
    from das_explain.explain.explainer import Explainer
    from das_explain.explain.plan import Plan
    from das_explain.scoring.options import ScoreOptions
    from das_explain.segment import Segmenter
    from das_explain.types import Progress, Sample


def run_and_publish(
    plan: Plan,
    dataset: Dataset,
    out: Path,
    scoring: ScoreOptions,
    *,
    report: bool,
    score_on: str = "cpu",
    **collecting: Any,
) -> Run:
    """Explains, scores, prints the comparison, writes the report and says where everything is."""
    from das_explain.devices import check_device
    from das_explain.engines.collect import collect
    from das_explain.scoring.run import check_options

    scoring = scoring.resolved()
    check_device(score_on)
    print_notes(dataset)
    with progress_bars("masks", "images", "images with blind maps") as (finding, explaining, asking):
        run = collect(
            plan,
            dataset,
            out,
            progress=explaining,
            finding=finding,
            asking=asking,
            scoring=scoring.to_json(),
            check=lambda run: check_options(scoring, run),
            note=lambda sentence: say(f"note        {sentence}"),
            **collecting,
        )
    if run.manifest["batch"] < plan.batch:
        say(f"note        memory held no more than {plural(run.manifest['batch'], 'photo')} at a time")
    score_and_publish(run, scoring, report=report, score_on=score_on)
    return run


def score_and_publish(run: Run, scoring: ScoreOptions | None, *, report: bool, score_on: str = "cpu") -> None:
    """Reads a run's tables off its evidence, prints them, writes the report and says where everything is."""
    from das_explain.commands.tables import print_tables
    from das_explain.report.publish import publish
    from das_explain.scoring.parts import default_processes
    from das_explain.scoring.run import score_run

    with progress_bars("scored") as (progress,):
        score_run(run, scoring, progress, processes=default_processes(), device=score_on)
    print_tables(run)
    if report:
        say(f"report      {publish(run)}")
    say(f"tables      {run.path('scores.csv')} and beside it")
    check_readable(run.photos())


def print_notes(dataset: Dataset) -> None:
    """What the data has to say about itself: files that were passed over."""
    for note in dataset.notes:
        say(f"note        {note}")


def print_assumed(contest: Contest, segmenter: Segmenter | None, samples: Sequence[Sample]) -> None:
    """A line on each thing that is assumed of the models, their labels and the data's masks: a run lists them itself."""
    from das_explain.segment.masks import assume_of_regions

    for sentence in (*contest.assumptions, *assume_of_regions(segmenter, samples)):
        say(f"assumed     {sentence}")


def open_photos(specs: Sequence[str], photos: Data, regions: Regions) -> Dataset:
    """Image files, folders or one data spec, of which only the drawn samples are left."""
    from dataclasses import replace

    from das_explain.data.dataset import open_any

    dataset = open_any(
        specs, masks=regions.masks, boxes=regions.boxes, split=photos.split, root=photos.root, objects=regions.objects()
    )
    return replace(dataset, samples=photos.draw(dataset))


def load_explainer(
    dataset: Dataset, models: Models, photos: Data, regions: Regions, maps: Maps, running: Running
) -> tuple[Explainer, Plan]:
    """The models, ready for these photos, and what is to be done, with what finds R on them if anything does; prints what
    is assumed of both."""
    from das_explain.explain.plan import Plan
    from das_explain.segment.choose import choose_segmenter

    options = maps.options(models.precision)
    options.check()
    print_notes(dataset)
    plan = Plan(
        models=models.model,
        samples=dataset.samples,
        source=dataset.source,
        segmenter=choose_segmenter(dataset, regions.options(running.device), optional=True),
        labels=dataset.labels,
        label_files=models.label_files(),
        label_map=photos.read_label_map(),
        options=options,
        blocks=models.block_names,
        layouts=models.layouts(),
        batch=running.photos_at_once,
        workers=running.workers,
        device=running.device,
        compiled=maps.compiled,
    )
    explainer = plan.explainer()
    print_assumed(explainer.contest, plan.segmenter, dataset.samples)
    return explainer, plan


@contextmanager
def progress_bar(unit: str = "images") -> Iterator[Progress]:
    """As ``progress_bars``, one of them."""
    with progress_bars(unit) as (progress,):
        yield progress


@contextmanager
def progress_bars(*units: str) -> Iterator[tuple[Progress, ...]]:
    """Bars with rate and time left, each shown from its first call on; nothing moves where there is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task) -> Text:
            # rich knows a speed only from the second step on, and a small run has but one.
            seconds = task.finished_time or task.elapsed
            speed = task.speed or ((task.completed - task.fields["before"]) / seconds if seconds else 0)
            return Text(f"{speed:.1f} {task.description}/s" if speed else f"-- {task.description}/s")

    columns = (BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(compact=True))
    with Bar(*columns, console=Console(stderr=True)) as bar:
        tasks = [bar.add_task(unit, total=None, visible=False, start=False, before=0) for unit in units]

        def report(task: TaskID) -> Progress:
            def tell(done: int, of: int) -> None:
                stop_if_asked()
                if not bar.tasks[task].started:
                    bar.start_task(task)
                    bar.update(task, before=done)  # of an earlier run
                bar.update(task, completed=done, total=of, visible=True)

            return tell

        yield tuple(report(task) for task in tasks)
