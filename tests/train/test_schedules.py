"""The learning rate of every step, by hand and against torch's schedulers."""

from __future__ import annotations

import csv

import numpy as np
import pytest

pytest.importorskip("lightning")

import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    MultiStepLR,
    ReduceLROnPlateau,
)

from das_explain.checkpoint.load import load_model
from das_explain.train import load_recipe, train
from das_explain.train.data import TrainingData
from das_explain.train.schedules import create_optimizer, lr_factor
from das_explain.train.schema import Optimizer, Schedule


def _sgd(lr: float = 1.0) -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr)


def test_learning_rate_by_hand():
    cosine = Schedule(epochs=5, name="cosine", warmup_epochs=1)
    factors = [lr_factor(cosine, step, 4) for step in range(20)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4] == 1.0
    assert factors[12] == pytest.approx(0.5)
    assert factors[19] == pytest.approx((1 + np.cos(np.pi * 15 / 16)) / 2)
    steps = Schedule(epochs=6, name="step", milestones=(2, 4), gamma=0.1)
    assert [lr_factor(steps, step, 1) for step in range(6)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert lr_factor(Schedule(name="constant"), 77, 10) == 1.0


@pytest.mark.parametrize(
    ("schedule", "scheduler"),
    [
        (Schedule(name="cosine", period=6), lambda optimizer: CosineAnnealingLR(optimizer, 6)),
        (Schedule(name="exponential", gamma=0.98), lambda optimizer: ExponentialLR(optimizer, 0.98)),
        (
            Schedule(name="step", milestones=(7, 13, 20), gamma=0.2),
            lambda optimizer: MultiStepLR(optimizer, [7, 13, 20], 0.2),
        ),
        (
            Schedule(name="restarts", period=3, period_factor=2),
            lambda optimizer: CosineAnnealingWarmRestarts(optimizer, 3, 2),
        ),
        (Schedule(name="restarts", period=5), lambda optimizer: CosineAnnealingWarmRestarts(optimizer, 5)),
    ],
)
def test_epochs_are_those_of_torch_s_schedulers(schedule, scheduler):
    optimizer = _sgd()
    theirs = scheduler(optimizer)
    for epoch in range(25):
        assert lr_factor(schedule, epoch * 10, 10) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9), epoch
        optimizer.step()
        theirs.step()


def test_restarts_go_on_within_an_epoch_as_torch_s():
    theirs = CosineAnnealingWarmRestarts(_sgd(), 2, 2)
    for step in range(80):
        theirs.step(step / 5)
        mine = lr_factor(Schedule(name="restarts", period=2, period_factor=2), step, 5)
        assert mine == pytest.approx(theirs.get_last_lr()[0], abs=1e-9), step


def test_plateau_follows_torch_s_on_the_held_out_loss(tiny, tmp_path):
    settings = [
        "loop.half=false",
        "model.architecture=mobilenet_v2",
        "model.arguments={}",
        "schedule.name=plateau",
        "schedule.patience=0",
        "schedule.gamma=0.5",
        "schedule.warmup_epochs=0",
        "schedule.epochs=3",
        "optimizer.lr=0.01",
        "optimizer.momentum=0",
        "data.held_out=2",
        "loop.validate=true",
    ]
    recipe = load_recipe(tiny, settings)
    model = load_model(str(train(recipe, tmp_path / "out")))
    with (tmp_path / "out" / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    held_out = TrainingData(recipe).tests["held_out"]
    with torch.no_grad():  # the last validation is of the weights that are shipped
        photos = torch.stack([model.preprocess(held_out.dataset.read(sample)) for sample in held_out.samples])
        targets = torch.tensor([model.labels.index(sample.label) for sample in held_out.samples])
        logits = model.network(photos)
    assert float(rows[-1]["held_out_loss"]) == pytest.approx(float(F.cross_entropy(logits, targets)), abs=2e-5)
    assert float(rows[-1]["held_out_top1"]) == float((logits.argmax(1) == targets).float().mean())
    optimizer = _sgd(0.01)
    theirs = ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    for row in rows:
        theirs.step(float(row["held_out_loss"]))
        assert float(row["lr"]) == pytest.approx(optimizer.param_groups[0]["lr"])
    assert optimizer.param_groups[0]["lr"] < 0.01, "the loss rose at least once"


def test_the_optimizer_takes_the_recipe_s_numbers():
    layer = torch.nn.Linear(2, 2)
    sgd = create_optimizer(layer, Optimizer(lr=0.3, momentum=0.8, nesterov=True, weight_decay=0.01)).param_groups[0]
    assert (sgd["lr"], sgd["momentum"], sgd["nesterov"], sgd["weight_decay"]) == (0.3, 0.8, True, 0.01)
    assert isinstance(create_optimizer(layer, Optimizer(name="adamw", lr=1e-3)), torch.optim.AdamW)
