"""The optimiser and its learning rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from das_explain.train.schema import Optimizer, Schedule


def create_optimizer(network: nn.Module, options: Optimizer) -> torch.optim.Optimizer:
    """SGD or AdamW over all parameters that are trained."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if options.name == "adamw":
        return torch.optim.AdamW(parameters, options.lr, weight_decay=options.weight_decay)
    nesterov = options.nesterov and options.momentum > 0
    return torch.optim.SGD(
        parameters, options.lr, options.momentum, weight_decay=options.weight_decay, nesterov=nesterov
    )


def lr_factor(schedule: Schedule, step: int, steps_per_epoch: int) -> float:
    """Learning rate of an optimiser step (from 0) as a fraction of the peak.

    Warm-up rises linearly and reaches 1 with its last step. Then a cosine falls from 1 to 0 within its period, which is
    the rest of the run unless given (torch's ``CosineAnnealingLR``; with restarts its ``CosineAnnealingWarmRestarts``:
    Loshchilov and Hutter 2017, "SGDR", Eq. 5); milestones and ``exponential`` count whole epochs of the run.
    ``plateau`` is flat here; it is lowered by ``callbacks.Plateau``.
    """
    warmup, total = round(schedule.warmup_epochs * steps_per_epoch), schedule.epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / warmup
    if schedule.name == "cosine":
        if schedule.period is None:
            done = min(1.0, (step - warmup) / max(1, total - warmup))
        else:
            done = (step - warmup) / (schedule.period * steps_per_epoch)  # beyond 1 it rises again
        return (1 + math.cos(math.pi * done)) / 2
    if schedule.name == "restarts":
        since, period = step - warmup, schedule.period * steps_per_epoch
        while since >= period:
            since, period = since - period, period * schedule.period_factor
        return (1 + math.cos(math.pi * since / period)) / 2
    if schedule.name == "step":
        return schedule.gamma ** sum(step >= milestone * steps_per_epoch for milestone in schedule.milestones)
    if schedule.name == "exponential":
        return schedule.gamma ** (step // steps_per_epoch)
    return 1.0
