"""The training step: a Lightning module around any classifier."""

from __future__ import annotations

import math

import lightning
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from das_explain.train.data import TrainingData
from das_explain.train.recipe import Optimizer, Recipe, Schedule


class Classifier(lightning.LightningModule):
    """Cross-entropy with label smoothing; the learning rate changes with every optimiser step."""

    def __init__(self, network: nn.Module, recipe: Recipe, data: TrainingData) -> None:
        super().__init__()
        self.network, self.recipe, self.data = network, recipe, data

    def train_dataloader(self) -> DataLoader:
        """Lightning tells the sampler its epoch, but in a resumed run only after the workers have begun."""
        loader = self.data.train_loader()
        loader.sampler.set_epoch(self.trainer.fit_loop.epoch_progress.current.processed)  # as Lightning does
        return loader

    def on_train_epoch_start(self) -> None:
        """Dropout and the like draw from (seed, epoch, process), so a resumed epoch draws the same."""
        torch.manual_seed(hash((self.recipe.seed, self.current_epoch, self.global_rank)) % 2**63)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> dict[str, Tensor]:
        """``loss`` (with gradient), ``hits`` (how many of the batch are right) and ``count``."""
        frames, targets = batch
        images = self.data.preprocess.normalize(frames)
        if self.recipe.loop.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        logits = self.network(images)
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=self.recipe.loop.label_smoothing)
        hits = (logits.detach().argmax(1) == targets).sum()
        return {"loss": loss, "hits": hits, "count": torch.tensor(len(targets))}

    def configure_optimizers(self) -> dict:
        """The recipe's optimiser over all parameters, with its schedule stepped by step."""
        optimizer = create_optimizer(self.network, self.recipe.optimizer)
        schedule = self.recipe.schedule
        steps = -(-(self.data.per_epoch // self.data.batch_size) // self.recipe.loop.accumulate)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(schedule, step, steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def create_optimizer(network: nn.Module, options: Optimizer) -> torch.optim.Optimizer:
    """SGD or AdamW."""
    if options.name == "adamw":
        return torch.optim.AdamW(network.parameters(), options.lr, weight_decay=options.weight_decay)
    nesterov = options.nesterov and options.momentum > 0
    return torch.optim.SGD(
        network.parameters(), options.lr, options.momentum, weight_decay=options.weight_decay, nesterov=nesterov
    )


def lr_factor(schedule: Schedule, step: int, steps_per_epoch: int) -> float:
    """Learning rate of an optimiser step (from 0) as a fraction of the peak.

    Warm-up rises linearly and reaches 1 with its last step; a cosine then falls from 1 to 0 at the end of the run.
    """
    warmup, total = round(schedule.warmup_epochs * steps_per_epoch), schedule.epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / warmup
    if schedule.name == "cosine":
        done = min(1.0, (step - warmup) / max(1, total - warmup))
        return (1 + math.cos(math.pi * done)) / 2
    if schedule.name == "step":
        return schedule.gamma ** sum(step >= milestone * steps_per_epoch for milestone in schedule.milestones)
    return 1.0
