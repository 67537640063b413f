"""The training step: Lightning modules around a network."""

from __future__ import annotations

from typing import Any

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from das_explain.train.data import TrainingData
from das_explain.train.schedules import create_optimizer, lr_factor
from das_explain.train.schema import Recipe


class TrainingModule(lightning.LightningModule):
    """What all tasks share: data in a fixed order, randomness by epoch, the learning rate of every optimiser step.

    ``data`` has ``train_loader()``, whose sampler has ``set_epoch``, and ``batches``, the whole batches of an epoch; if
    the recipe validates, ``held_out_loader()`` too.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, data: TrainingData) -> None:
        super().__init__()
        self.network, self.recipe, self.data = network, recipe, data

    def __getstate__(self) -> dict:
        """A copy (the averaged weights are in one) goes without the data, which may be a list of a million images."""
        return {**super().__getstate__(), "data": None}

    def losses(self, batch) -> tuple[Tensor, dict[str, Tensor], int]:
        """(mean loss, with gradient; sums of the task's measures over the batch; number of images)."""
        raise NotImplementedError

    def train_dataloader(self) -> DataLoader:
        """Lightning tells the sampler its epoch, but in a resumed run only after the workers have begun."""
        loader = self.data.train_loader()
        progress: Any = self.trainer.fit_loop.epoch_progress
        sampler: Any = loader.sampler
        sampler.set_epoch(progress.current.processed)  # as Lightning does
        return loader

    def val_dataloader(self) -> DataLoader:
        """The held-out images, if the recipe validates."""
        return self.data.held_out_loader()

    def validation_step(self, batch, index: int) -> dict[str, Tensor]:
        """As ``training_step``, in eval mode."""
        loss, sums, count = self.losses(batch)
        return {"mean": loss, "count": torch.tensor(count), **sums}

    def on_train_epoch_start(self) -> None:
        """Dropout and the like draw from (seed, epoch, process), so a resumed epoch draws the same."""
        torch.manual_seed(hash((self.recipe.seed, self.current_epoch, self.global_rank)) % 2**63)

    def training_step(self, batch, index: int) -> dict[str, Tensor]:
        """``loss`` (with gradient), ``mean`` (the same, for the log), ``count`` and the sums of the measures.

        Lightning divides the loss by ``loop.accumulate``; the last optimiser step of an epoch may have fewer batches.
        """
        loss, sums, count = self.losses(batch)
        accumulate = self.recipe.loop.accumulate
        batches = min(accumulate, self.data.batches - index // accumulate * accumulate)
        scaled = loss * (accumulate / batches) if batches < accumulate else loss
        return {"loss": scaled, "mean": loss.detach(), "count": torch.tensor(count), **sums}

    def configure_optimizers(self) -> dict:
        """The recipe's optimiser over all parameters, with its schedule stepped by step."""
        optimizer = create_optimizer(self.network, self.recipe.optimizer)
        if self.recipe.schedule.name == "plateau":  # a schedule would set back what `callbacks.Plateau` lowers
            return {"optimizer": optimizer}
        schedule, steps = self.recipe.schedule, -(-self.data.batches // self.recipe.loop.accumulate)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(schedule, step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class Classifier(TrainingModule):
    """Cross-entropy with label smoothing; with a classifier inside the attention (ABN), the sum of both losses."""

    def losses(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor], int]:
        """``top1``: how many of the batch are right. ``batch``: uint8 (N, 3, H, W) and int64 (N,)."""
        frames, targets = batch
        images = self.data.preprocess.normalize(frames)
        if self.recipe.loop.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        output = self.network(images)
        logits, *branches = output if isinstance(output, tuple) else (output,)  # ``BranchedLogits`` while it trains
        smoothing = self.recipe.loop.label_smoothing
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=smoothing)
        for branch in branches:
            loss = loss + F.cross_entropy(branch.float(), targets, label_smoothing=smoothing)
        return loss, {"top1": (logits.detach().argmax(1) == targets).sum()}, len(targets)
