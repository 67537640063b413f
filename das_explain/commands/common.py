"""What several commands share: lists, running with a bar, and the table at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import TaskID

    from das_explain.data.dataset import Dataset
    from das_explain.evidence.run import Run
    from das_explain.explain.plan import Plan
    from das_explain.scoring.options import ScoreOptions
    from das_explain.segment import Segmenter
    from das_explain.segment.export import Exported
    from das_explain.types import Progress, Sample


def comma_separated(text: str) -> tuple[str, ...]:
    """``"layer3, layer4"`` -> ``("layer3", "layer4")``."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def run_and_publish(
    plan: Plan, dataset: Dataset, out: Path, scoring: ScoreOptions, *, report: bool, **collecting: Any
) -> Run:
    """Explains, scores, prints the comparison, writes the report and says where everything is."""
    from das_explain.engines.collect import collect

    scoring = scoring.resolved()
    print_guessed(plan.segmenter, plan.samples)
    with progress_bars("masks", "images") as (finding, explaining):
        run = collect(plan, dataset, out, progress=explaining, finding=finding, **collecting)
    score_and_publish(run, scoring, report=report)
    return run


def score_and_publish(run: Run, scoring: ScoreOptions | None, *, report: bool) -> None:
    """Reads a run's tables off its evidence, prints them, writes the report and says where everything is."""
    from das_explain.report.publish import publish
    from das_explain.scoring.run import score_run

    with progress_bars("scored") as (progress,):
        score_run(run, scoring, progress)
    print_tables(run)
    if report:
        print(f"report      {publish(run)}")
    print(f"tables      {run.folder / 'scores.csv'} and beside it")


def print_guessed(segmenter: Segmenter | None, samples: Sequence[Sample]) -> None:
    """A line on the data's masks of which nothing tells whether they lie on the upright or on the stored photo."""
    from das_explain.data.sources import orientation_unconfirmed

    if segmenter is not None and segmenter.name == "masks" and (guessed := orientation_unconfirmed(samples)):
        print(
            f"note        {_count(len(guessed), 'photo')}, first {guessed[0].name}, with an EXIF orientation that the "
            "mask's size cannot confirm: masks are taken as drawn on the upright photo; if they are not, store the "
            "photos upright, or give each mask the orientation tag of its photo"
        )


def print_tables(run: Run) -> None:
    """The summary beside its null, the comparison, and the statuses that are not ok."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    lifts = run.table("lift")
    shuffled = lifts[(lifts["null"] == "shuffled") & (lifts["measure"] == "sfd")].set_index(["model", "block"])
    table = Table("model", "block", "scored", "mean sfd", "95 % interval", "lift over shuffled maps", title="sfd")
    for row in run.table("summary").itertuples():
        key = (row.model, row.block)
        lift = f"{shuffled.loc[key, 'lift']:+.3f}" if key in shuffled.index else "-"
        numbers = (f"{row.mean_sfd:.3f}", f"{row.ci_low:.3f} to {row.ci_high:.3f}") if row.n_scored else ("-", "-")
        table.add_row(row.model, row.block, f"{row.n_scored} of {row.n}", *numbers, lift)
    console.print(table)
    comparison = run.table("comparison")
    if len(comparison):
        table = Table("block", "comparison", "difference", "95 % interval", "p, adjusted", "wins", title="comparison")
        for row in comparison.itertuples():
            pair, interval = f"{row.model_b} - {row.model_a}", f"{row.ci_low:+.3f} to {row.ci_high:+.3f}"
            table.add_row(
                row.block, pair, f"{row.delta:+.3f}", interval, f"{row.p_adjusted:.2g}", f"{row.win_rate:.0%}"
            )
        console.print(table)
    scores = run.table("scores")
    others = scores[scores["status"] != "ok"].groupby("status", observed=True)["image"].agg(["size", "nunique"])
    if len(others):
        told = (
            f"{_count(row.size, 'row')} of {_count(row.nunique, 'image')} {row.Index}" for row in others.itertuples()
        )
        print("statuses    " + ", ".join(told))
    for sentence in run.manifest.get("assumptions", []):
        print(f"assumed     {sentence}")


def open_images_or_data(images: list[str], masks: Path | None, boxes: Path | None = None) -> Dataset:
    """Image files and folders of them; a single CSV, folder of classes or named data set is taken as ``sfd`` takes it."""
    from das_explain.data.dataset import SOURCES, open_dataset, open_images
    from das_explain.errors import UsageError

    single = images[0]
    is_data = single.partition(":")[0] in SOURCES or Path(single).is_dir() or single.lower().endswith(".csv")
    if len(images) == 1 and is_data:
        return open_dataset(single, masks=masks, boxes=boxes)
    if boxes is not None:
        raise UsageError("--boxes goes with a folder or a CSV, not with images named one by one")
    return open_images(images, masks=masks)


def print_agreement(exported: Exported) -> None:
    """How well the masks agree with human ones, and the worst of them."""
    from rich.console import Console
    from rich.table import Table

    from das_explain.segment.compare import worst

    summary = exported.agreement or {}
    if not summary.get("compared"):
        print("agreement   no photo has both a mask and a human's mask")
        return
    print(
        f"agreement   on {summary['compared']} of {summary['images']} photos: mean IoU {summary['mean_iou']:.3f}, "
        f"at least 0.5 on {summary['share_iou_50']:.0%}, mean boundary F {summary['mean_boundary_f']:.3f}"
    )
    table = Table("image", "label", "status", "IoU", "boundary F", title="worst")
    for row in worst(exported.against):
        numbers = (f"{row['iou']:.3f}", f"{row['boundary_f']:.3f}")
        table.add_row(row["image"], row["label"], row["status"], *numbers)
    Console().print(table)
    if others := {status: count for status, count in summary["statuses"].items() if status != "ok"}:
        print("not compared  " + ", ".join(f"{count} {status}" for status, count in others.items()))


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
            def told(done: int, of: int) -> None:
                if not bar.tasks[task].started:
                    bar.start_task(task)
                    bar.update(task, before=done)  # of an earlier run
                bar.update(task, completed=done, total=of, visible=True)

            return told

        yield tuple(report(task) for task in tasks)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
