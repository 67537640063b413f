"""What happens beside the steps: the display, the CSV log, and the checkpoint to go on from."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from das_explain.errors import DasExplainError
from das_explain.train.card import clock

COLUMNS = ("epoch", "lr", "loss", "top1", "images", "seconds", "images_per_second")


class EpochLog(Callback):
    """One row per epoch in ``log.csv`` (loss and top-1 over the augmented training images), and a display.

    On a terminal a bar moves with every batch: images per second, loss, top-1, time left for the whole run. Elsewhere
    there is one line per epoch. Stops the run when the loss is no number.
    """

    def __init__(self, path: Path, console: Console) -> None:
        self.path, self.console = path, console
        self.rows: list[dict] = []
        self._bar: Progress | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Keeps the rows of the epochs that are behind; those after the checkpoint will be run again."""
        if self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if int(row["epoch"]) <= trainer.current_epoch]
        if self.console.is_terminal:
            columns = (
                TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(),
                TextColumn("{task.fields[now]}"), TimeRemainingColumn(compact=True), TextColumn("left"),
            )  # fmt: skip
            self._bar = Progress(*columns, console=self.console, transient=True)
            batches = trainer.num_training_batches
            total, done = trainer.max_epochs * batches, trainer.current_epoch * batches
            self._task = self._bar.add_task("", total=total, completed=done, epoch="", now="")
            self._bar.start()

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Starts the sums of the epoch."""
        self._start, self._shown, self._count = time.perf_counter(), 0.0, 0
        self._loss = self._hits = torch.zeros((), device=module.device)

    def on_train_batch_end(self, trainer: lightning.Trainer, module, outputs: dict, batch, batch_index: int) -> None:
        """Adds a batch to the sums and shows them, a few times a second at most."""
        count = int(outputs["count"])
        # Lightning divides the loss of each of `accumulate` batches
        self._loss = self._loss + outputs["loss"].detach() * count * trainer.accumulate_grad_batches
        self._hits, self._count = self._hits + outputs["hits"], self._count + count
        now = time.perf_counter()
        if self._bar and now - self._shown > 0.25:
            self._shown = now
            loss, top1, rate = self._figures(now - self._start)
            self._check(loss, trainer)
            self._bar.update(
                self._task,
                completed=trainer.current_epoch * trainer.num_training_batches + batch_index + 1,
                epoch=f"{trainer.current_epoch + 1}/{trainer.max_epochs}",
                now=f"batches  {rate:.1f} images/s  loss {loss:.3f}  top-1 {top1:.1%} ",
            )

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Writes the epoch's row, before the checkpoint of the epoch is written."""
        seconds = time.perf_counter() - self._start
        loss, top1, rate = self._figures(seconds)
        self._check(loss, trainer)
        lr = trainer.optimizers[0].param_groups[0]["lr"]  # of the step to come
        numbers = (f"{lr:.6g}", f"{loss:.5f}", f"{top1:.5f}", str(self._count), f"{seconds:.1f}", f"{rate:.1f}")
        self.rows.append(dict(zip(COLUMNS, (str(trainer.current_epoch + 1), *numbers), strict=True)))
        if trainer.is_global_zero:
            partial = self.path.with_suffix(".partial")
            with partial.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(self.rows)
            os.replace(partial, self.path)
            left = (trainer.max_epochs - trainer.current_epoch - 1) * seconds
            self.console.print(
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  loss {loss:.3f}  top-1 {top1:.1%}  "
                f"{rate:.1f} images/s  {clock(seconds)}" + (f"  {clock(left)} left" if left else ""),
                highlight=False,
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

    def _figures(self, seconds: float) -> tuple[float, float, float]:
        return float(self._loss) / self._count, float(self._hits) / self._count, self._count / seconds

    def _check(self, loss: float, trainer: lightning.Trainer) -> None:
        if loss != loss or loss in (float("inf"), float("-inf")):
            where = f"the loss became {loss} in epoch {trainer.current_epoch + 1}"
            raise DasExplainError(f"{where}: try a lower optimizer.lr, or loop.precision=32")


class LastCheckpoint(Checkpoint):
    """After every epoch the whole state (weights, optimiser, schedule, counters) replaces ``last.ckpt`` at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Writes beside, then renames: a kill at any moment leaves a whole file."""
        partial = self.path.with_suffix(".partial")
        trainer.save_checkpoint(partial)
        if trainer.is_global_zero:
            os.replace(partial, self.path)
