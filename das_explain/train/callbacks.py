"""What happens between the epochs: the checkpoint to go on from, averaged weights, a rate that waits for a plateau."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EMAWeightAveraging

from das_explain.files import replace_file
from das_explain.train.log import EpochLog
from das_explain.train.schema import Schedule

SHARE = 0.02  # of a run's time that saving may take, where epochs are short


class LastCheckpoint(Checkpoint):
    """After an epoch the whole state (weights, optimiser, schedule, counters) replaces ``last.ckpt`` at once.

    After every epoch, unless saving would take more than ``SHARE`` of the time: 100 MB are nothing beside an epoch of
    minutes, and as long as one of a few steps. After the first and the last it is always saved. ``epochs``: how many the
    file has behind it, of those that were trained or loaded here. ``begun``: whether training has, after what was loaded
    has been put in its place.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.epochs, self.begun = path, 0, False
        self._due = 0.0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """What was loaded is saved already."""
        self.epochs, self.begun = trainer.current_epoch, True

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """A kill at any moment leaves a whole file. All processes take part in saving; the first one writes."""
        done = trainer.current_epoch + 1
        begun = time.perf_counter()
        if not trainer.strategy.broadcast(done == trainer.max_epochs or begun >= self._due):
            return
        if trainer.is_global_zero:
            replace_file(self.path, trainer.save_checkpoint)
        else:
            trainer.save_checkpoint(self.path)
        self.epochs = done
        now = time.perf_counter()
        self._due = now + (now - begun) / SHARE


class Average(EMAWeightAveraging):
    """An exponential moving average of weights and batch statistics, which the network has when training ends."""

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)

    def on_fit_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Also in a run that was stopped between its last step and its test, where ``on_train_end`` is not called."""
        self.on_train_end(trainer, module)


class Plateau(Callback):
    """torch's ``ReduceLROnPlateau`` on the held-out loss. Lightning's own call comes after the checkpoint was written,
    and would be lost when a run goes on from there."""

    def __init__(self, log: EpochLog, schedule: Schedule) -> None:
        self.epoch_log, self.schedule = log, schedule
        self._state: dict[str, Any] | None = None
        self._scheduler: torch.optim.lr_scheduler.ReduceLROnPlateau | None = None

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """The optimiser exists now, with the learning rate of the checkpoint."""
        self._scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            trainer.optimizers[0], factor=self.schedule.gamma, patience=self.schedule.patience
        )
        if self._state is not None:
            self._scheduler.load_state_dict(self._state)

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Looks at the epoch's validation."""
        self._scheduler.step(self.epoch_log.held_out["loss"])

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return self._scheduler.state_dict() if self._scheduler else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint."""
        self._state = state
