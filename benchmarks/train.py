"""What `das-explain train` costs beside a plain PyTorch loop with the same operations.

    python benchmarks/train.py                       # ResNet-18, plain and with DAS gates, 128 px, batch 32
    python benchmarks/train.py --attention none --images 128 --epochs 2

Three ways of the same epochs, in one process, without workers, in turn: ``train`` is ``das_explain.train.train``, whole;
``loop`` is a for loop over the same photos, random views, normalisation, network, loss, optimiser and schedule, and
nothing else; ``network`` is that loop over one batch that is in memory. Each is run for one epoch and for more, and the
difference is taken, so that setting up, testing and writing the model directory do not count; the median of the rounds is
shown. ``train`` also writes its log and ``last.ckpt`` (100 MB for a ResNet-18) after every epoch, so that a stopped run
can go on: in epochs of few images that is what sets the two apart. Wall-clock time is what one waits; processor time says
the same on a machine that does other things, too.
Needs: pip install 'das-explain[train]'.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console
from torch import nn

from das_explain.train import Recipe, load_recipe, train
from das_explain.train.classification import Classification
from das_explain.train.machine import resolve_precision
from das_explain.train.schedules import create_optimizer, lr_factor

TRAIN, LOOP, NETWORK = "train", "loop", "network"


def write_photos(folder: Path, count: int) -> None:
    """``count`` JPEGs of 320 x 240 pixels, in four classes."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        path = folder / f"class {number % 4}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((320, 240)).save(path)


def loop(recipe: Recipe, in_memory: bool = False) -> None:
    """The recipe's epochs in plain PyTorch."""
    torch.manual_seed(recipe.seed)
    task = Classification(recipe)
    network: nn.Module = task.build(Console(quiet=True)).to(memory_format=torch.channels_last).train()
    optimizer = create_optimizer(network, recipe.optimizer)
    steps = task.data.batches
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(recipe.schedule, step, steps))
    loader = task.data.train_loader()
    first = next(iter(loader))
    bf16 = resolve_precision(recipe) == "bf16"
    for epoch in range(recipe.schedule.epochs):
        loader.sampler.set_epoch(epoch)
        for frames, targets in [first] * steps if in_memory else loader:
            images = task.data.preprocess.normalize(frames).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = F.cross_entropy(network(images).float(), targets, label_smoothing=recipe.loop.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def seconds(run: Callable[[int], None], epochs: int) -> np.ndarray:
    """(wall-clock, processor) seconds of ``epochs`` epochs, from a run of one and a run of one more than that."""
    taken = []
    for each in (1, 1 + epochs):
        before = time.perf_counter(), time.process_time()
        run(each)
        taken.append((time.perf_counter() - before[0], time.process_time() - before[1]))
    return np.array(taken[1]) - taken[0]


def main() -> None:
    """Times and prints a table per attention module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attention", nargs="+", default=["none", "das"])
    parser.add_argument("--size", type=int, default=128, help="side of the views, in pixels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--images", type=int, default=256, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=1, help="that are timed, after one that is not")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--precision", choices=("auto", "32", "bf16"), default="32")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        photos, out = Path(temporary) / "photos", Path(temporary) / "run"
        write_photos(photos, arguments.images)

        def recipe(attention: str, epochs: int) -> Recipe:
            settings = {
                "model.attention": attention,
                "data.train": photos,
                "data.test": photos,
                "data.held_out": 0,
                "data.per_epoch": arguments.images,
                "input.size": arguments.size,
                "input.resize": arguments.size,
                "input.train_size": arguments.size,
                "schedule.epochs": epochs,
                "schedule.warmup_epochs": 0,
                "loop.batch_size": arguments.batch,
                "loop.workers": 0,
                "loop.device": "cpu",
                "loop.validate": "false",
                "loop.precision": arguments.precision,
            }
            return load_recipe("finetune", [f"{key}={value}" for key, value in settings.items()])

        print(
            f"{arguments.size} px, batch {arguments.batch}, {torch.get_num_threads()} threads, milliseconds per image"
        )
        print(f"{'attention':10} {'':8} {'wall':>8} {'processor':>10} {'/ loop':>7} {'/ network':>10}  (processor)")
        for attention in arguments.attention:
            ways: dict[str, Callable[[int], None]] = {
                TRAIN: lambda epochs, a=attention: train(recipe(a, epochs), out, resume=False),
                LOOP: lambda epochs, a=attention: loop(recipe(a, epochs)),
                NETWORK: lambda epochs, a=attention: loop(recipe(a, epochs), in_memory=True),
            }
            taken: dict[str, list[np.ndarray]] = {name: [] for name in ways}
            for _ in range(arguments.repeat):
                for name, run in ways.items():
                    taken[name].append(seconds(run, arguments.epochs) * 1000 / (arguments.images * arguments.epochs))
            medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in taken.items()}
            for name, (wall, processor) in medians.items():
                ratios = [processor / medians[other][1] for other in (LOOP, NETWORK)]
                print(f"{attention:10} {name:8} {wall:8.2f} {processor:10.2f} {ratios[0]:7.2f} {ratios[1]:10.2f}")


if __name__ == "__main__":
    main()
