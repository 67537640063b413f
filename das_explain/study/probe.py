"""What a study will cost, from a few timed steps of each design on this machine: time and disk, before anything is made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.console import Console

from das_explain.checkpoint.load import load_model
from das_explain.checkpoint.model import LoadedModel
from das_explain.data.dataset import open_dataset
from das_explain.explain.contestants import load_contest
from das_explain.explain.explainer import Explainer
from das_explain.nulls import NULLS
from das_explain.study.schema import Study
from das_explain.study.scoring import explaining_options, open_data, score_options
from das_explain.study.units import Unit
from das_explain.train.machine import on_gpu, resolve_precision
from das_explain.train.module import TrainingModule
from das_explain.train.schema import Recipe
from das_explain.train.task import create_task

STEPS = 3  # timed, after one that is not
PHOTOS = 8  # explained
ASKED = 2  # of them, by measures that ask networks: about each photo a hundred times
FRAME_BYTES = 12_000  # of a frame as JPEG and its mask, about


@dataclass(frozen=True)
class Cost:
    """Of one copy of a design: seconds of training, seconds to explain a photo, bytes of its weights as shipped, of what
    it goes on from while it is trained, and of its maps of a photo."""

    train: float
    explain: float
    weights: int
    checkpoint: int
    maps: int


def probe(study: Study, units: Sequence[Unit]) -> dict[str, Cost]:
    """Design -> what a copy costs, timed in this process with all its threads."""
    return {
        design: _cost(study, next(unit for unit in units if unit.design == design).load()) for design in study.designs
    }


def _cost(study: Study, recipe: Recipe) -> Cost:
    quiet = Console(quiet=True)
    task = create_task(recipe)
    torch.manual_seed(recipe.seed)
    network = task.build(quiet)
    device = "cuda" if on_gpu(recipe) else "cpu"
    module = task.module(network).to(device)
    seconds = _step(module, recipe, device)
    data = module.data
    batches, tested = data.batches * recipe.schedule.epochs, sum(map(len, data.tests.values()))
    photos = _photos(study)
    loaded = load_model(network.to("cpu").eval(), labels=task.labels, size=recipe.input.size)
    loaded.explain(photos[:1], blocks=study.blocks or None)
    start = time.perf_counter()
    explained = loaded.explain(photos, blocks=study.blocks or None)
    each = (time.perf_counter() - start) / len(photos)
    maps = sum(cam.native.shape[-1] * cam.native.shape[-2] * 4 for cam in explained.cams.values())
    asked = _asked(study, loaded)
    values = sum(parameter.numel() for parameter in network.parameters())
    width = 2 if recipe.loop.half else 4
    return Cost(batches * seconds + tested * each / 2, each + asked, values * width, values * 4 * 2, maps)


def _asked(study: Study, loaded: LoadedModel) -> float:
    """Seconds a photo that measures take which ask the network about the model's maps, and again about null maps."""
    options = replace(explaining_options(study), target="predicted")
    if not options.measures:
        return 0.0
    contest = load_contest([loaded], None, options, blocks=study.blocks)
    dataset = open_data(next(iter(study.data.values())))
    explainer = Explainer(contest, options)
    batch = next(explainer.batches(dataset.source, dataset.samples[:ASKED], None, batch=ASKED, workers=0))
    seconds = []
    for measures in (options.measures, ()):
        explainer.options = replace(options, measures=measures)
        start = time.perf_counter()
        explainer.explain(batch, frames=False)
        seconds.append(time.perf_counter() - start)
    blocks, nulls = len(contest.contestants[0].blocks), [NULLS[name] for name in score_options(study).nulls]
    maps = blocks + sum(1 if null.blind else blocks for null in nulls)
    return max(0.0, seconds[0] - seconds[1]) / len(batch) * maps / blocks


def _step(module: TrainingModule, recipe: Recipe, device: str) -> float:
    """Seconds of a training step, decoding and augmentation in this process included."""
    loader = module.data.train_loader()
    sampler: Any = loader.sampler
    sampler.set_epoch(0)
    optimizer = module.configure_optimizers()["optimizer"]
    precision = {"bf16": torch.bfloat16, "16": torch.float16}.get(resolve_precision(recipe))
    taken: list[float] = []
    start = time.perf_counter()
    for batch in loader:
        frames, targets = (each.to(device) for each in batch)
        with torch.autocast(device, precision, enabled=precision is not None):
            loss, _, _ = module.losses((frames, targets))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        taken.append(time.perf_counter() - start)
        if len(taken) > STEPS:
            break
        start = time.perf_counter()
    return min(taken[1:] or taken)


def _photos(study: Study) -> list:
    data = next(iter(study.data.values()))
    dataset = open_dataset(data.data)
    return [dataset.read(sample) for sample in dataset.samples[:PHOTOS]]


@dataclass(frozen=True)
class Estimate:
    """A line of the plan: what, how many are still to be done, seconds of one, bytes that they leave."""

    what: str
    done: int
    count: int
    seconds: float
    bytes: int

    @property
    def left(self) -> float:
        """Seconds of what is still to be done."""
        return (self.count - self.done) * self.seconds


def estimates(
    study: Study, units: Sequence[Unit], costs: dict[str, Cost], keep: str, scored: Sequence[str]
) -> list[Estimate]:
    """The units of each design, then each data set; ``scored`` are those that need not be scored again."""
    lines = []
    for design, cost in costs.items():
        mine = [unit for unit in units if unit.design == design]
        size = (cost.weights if keep != "none" else 0) + (cost.checkpoint if keep == "all" else 0)
        lines.append(
            Estimate(f"train {design}", sum(unit.finished for unit in mine), len(mine), cost.train, size * len(mine))
        )
    for name, data in study.data.items():
        images = data.sample or len(open_dataset(data.data).samples)
        seconds = sum(costs[unit.design].explain for unit in units) * images
        size = images * (FRAME_BYTES + sum(costs[unit.design].maps for unit in units))
        lines.append(Estimate(f"score on {name}", int(name in scored), 1, seconds, size))
    return lines
