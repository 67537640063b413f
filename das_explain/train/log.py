"""What is told about a run while it goes: a row per epoch in ``log.csv`` and TensorBoard, and a display."""

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from das_explain.errors import DasExplainError
from das_explain.files import write_text_whole
from das_explain.train.card import clock
from das_explain.train.task import BOARD, HELD_OUT, LOG, log_column, log_columns, log_rows

VIEWS = " on random training views"


class Means:
    """Means over the images of many batches, from what ``TrainingModule``'s steps return."""

    def __init__(self, names: tuple[str, ...], device: torch.device) -> None:
        self.names, self.count = names, 0
        self._sums = torch.zeros(len(names), device=device)

    def add(self, outputs: dict[str, Tensor]) -> None:
        """Adds a batch."""
        count = int(outputs["count"])
        values = {**outputs, "loss": outputs["mean"] * count}
        self._sums = self._sums + torch.stack([values[name].detach().float() for name in self.names])
        self.count += count

    def gather(self, trainer: lightning.Trainer) -> None:
        """Adds up what all processes have; each must call it."""
        if trainer.world_size > 1:
            both = torch.cat([self._sums.double(), torch.tensor([float(self.count)], device=self._sums.device)])
            both = trainer.strategy.reduce(both, reduce_op="sum")
            self._sums, self.count = both[:-1], int(both[-1])

    def __call__(self) -> dict[str, float]:
        """name -> mean."""
        return {name: float(value) / self.count for name, value in zip(self.names, self._sums, strict=True)}


class EpochLog(Callback):
    """One row per epoch in ``log.csv``: loss and measures over the augmented training images; and a display.

    ``random_views_top1`` is no accuracy of the network: the views are random crops of photos that it learns from. If the
    run validates, the columns ``held_out_...`` have loss and measures over the held-out images. On a terminal a bar moves
    with every batch: images per second, loss, measures, time left for the whole run. Elsewhere there is one line per
    epoch. Stops the run when the loss is no number.
    """

    def __init__(self, out: Path, console: Console, measures: tuple[str, ...], validate: bool) -> None:
        self.path, self.board, self.console = out / LOG, out / BOARD, console
        self.names = ("loss", *measures)
        self.columns = log_columns(measures, validate)
        self.rows: list[dict[str, str]] = []
        self.held_out: dict[str, float] = {}
        self._bar: Progress | None = None
        self._writer = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Keeps the rows of the epochs that are behind; those after the checkpoint will be run again."""
        if self.path.exists():
            rows = log_rows(self.path.parent, self.columns)
            self.rows = [row for row in rows if int(row["epoch"]) <= trainer.current_epoch]
        if not trainer.is_global_zero:
            return
        self._writer = _tensorboard(self.board, trainer.current_epoch + 1)
        if self.console.is_terminal:
            columns = (
                TextColumn("epoch {task.fields[epoch]}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[now]}"),
                TimeRemainingColumn(compact=True),
                TextColumn("left"),
            )
            self._bar = Progress(*columns, console=self.console, transient=True)
            batches = trainer.num_training_batches
            total, done = trainer.max_epochs * batches, trainer.current_epoch * batches
            self._task = self._bar.add_task("", total=total, completed=done, epoch="", now="")
            self._bar.start()

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Starts the sums of the epoch."""
        self._start, self._shown = time.perf_counter(), 0.0
        self._means = Means(self.names, module.device)

    def on_train_batch_end(self, trainer: lightning.Trainer, module, outputs: dict, batch, batch_index: int) -> None:
        """Adds a batch to the sums and shows them, a few times a second at most."""
        self._means.add(outputs)
        now = time.perf_counter()
        if self._bar and now - self._shown > 0.25:
            self._shown, means = now, self._means()
            self._check(means["loss"], trainer)
            rate = self._means.count * trainer.world_size / (now - self._start)
            self._bar.update(
                self._task,
                completed=trainer.current_epoch * trainer.num_training_batches + batch_index + 1,
                epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
                now=f"batches  {rate:.1f} images/s  {_words(means, VIEWS)} ",
            )

    def on_validation_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Starts the sums of the held-out images."""
        self._held_out = Means(self.names, module.device)

    def on_validation_batch_end(self, trainer: lightning.Trainer, module, outputs: dict, batch, index: int) -> None:
        """Adds a batch to them."""
        self._held_out.add(outputs)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Their means over all processes."""
        self._held_out.gather(trainer)
        self.held_out = self._held_out()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Writes the epoch's row, before the checkpoint of the epoch is written."""
        seconds = time.perf_counter() - self._start
        self._means.gather(trainer)
        means, images = self._means(), self._means.count
        self._check(means["loss"], trainer)
        lr = trainer.optimizers[0].param_groups[0]["lr"]  # of the step to come
        held_out = {HELD_OUT + name: value for name, value in self.held_out.items()}
        columns = {**{log_column(name): value for name, value in means.items()}, **held_out}
        self.rows.append(
            {
                "epoch": str(trainer.current_epoch + 1),
                "lr": f"{lr:.6g}",
                **{name: f"{value:.5f}" for name, value in columns.items()},
                "images": str(images),
                "seconds": f"{seconds:.1f}",
                "images_per_second": f"{images / seconds:.1f}",
            }
        )
        if trainer.is_global_zero:
            self._write()
            if self._writer:
                for name in self.columns[1:]:
                    self._writer.add_scalar(name, float(self.rows[-1][name]), trainer.current_epoch + 1)
                self._writer.flush()
            left = (trainer.max_epochs - trainer.current_epoch - 1) * seconds
            self.console.print(
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {_words(means, VIEWS)}  "
                + (f"held out: {_words(self.held_out)}  " if held_out else "")
                + f"{images / seconds:.1f} images/s  {clock(seconds)}"
                + (f"  {clock(left)} left" if left else ""),
                highlight=False,
                soft_wrap=True,
            )

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Takes the bar away."""
        self.close()

    def on_exception(self, trainer: lightning.Trainer, module, exception: BaseException) -> None:
        """Takes the bar away."""
        self.close()

    def close(self) -> None:
        """Takes the bar away, if there is one."""
        if self._bar:
            self._bar.stop()
            self._bar = None
        if self._writer:
            self._writer.close()
            self._writer = None

    def _write(self) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_text_whole(self.path, text.getvalue())

    def _check(self, loss: float, trainer: lightning.Trainer) -> None:
        if not math.isfinite(loss):
            where = f"the loss became {loss} in epoch {trainer.current_epoch + 1}"
            raise DasExplainError(f"{where}: try a lower optimizer.lr, or loop.precision=32")


def _words(means: dict[str, float], where: str = "") -> str:
    """``loss 0.693  top-1 50.0%``; ``where`` follows the accuracy."""
    return "  ".join(
        f"top-1 {value:.1%}{where}" if name == "top1" else f"{name} {value:.3f}" for name, value in means.items()
    )


def _tensorboard(folder: Path, first_epoch: int):
    """TensorBoard's writer, or ``None`` where it is not installed; what was written from that epoch on is forgotten."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder, purge_step=first_epoch)
