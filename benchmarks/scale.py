"""Whether a large run costs per photo what a small one does: made-up photos, and networks of a few microseconds.

    python benchmarks/scale.py [--images 100,1000,10000,100000] [--actors]

Each run is two processes of its own: ``sfd`` without a report, then the report of it. Prints processor time per photo of
explaining, scoring (nulls and readings included) and the report, that of each further photo against the next smaller run
(what is done once cancels out), and the peak memory of both processes. ``--actors``: the largest run on Ray as well, with
one actor and with two, and how much of two actors' time is work (extra ``ray``; it takes two free processors).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

SIDE, LABELS = 32, ("circle", "square")
STAGES = ("explain", "score", "report")


class Cost(NamedTuple):
    """Of one run: processor seconds of each stage, wall seconds of explaining, peak MB of the two processes."""

    seconds: dict[str, float]
    wall: float
    memory: tuple[float, float]


@dataclass(frozen=True)
class Drawn:
    """Photos and masks that depend on their number alone; nothing is on the disk."""

    def read(self, sample):
        """Noise of 32 x 32 with a bright square."""
        import numpy as np
        from PIL import Image

        y, x = _corner(sample.index)
        pixels = np.random.default_rng(sample.index).integers(0, 120, (SIDE, SIDE, 3), dtype=np.uint8)
        pixels[y : y + 12, x : x + 12, sample.index % 2] = 250
        return Image.fromarray(pixels)

    def read_mask(self, sample, size):
        """The square."""
        import numpy as np

        from das_explain.types import Region

        y, x = _corner(sample.index)
        mask = np.zeros(size[::-1], bool)
        mask[y : y + 12, x : x + 12] = True
        return Region(mask)


def _corner(index: int) -> tuple[int, int]:
    return index % 19 + 1, index % 17 + 2


def network():
    """Two convolutions."""
    from torch import nn

    layers = [("first", nn.Conv2d(3, 4, 4, 4)), ("act", nn.ReLU()), ("second", nn.Conv2d(4, 8, 2, 2))]
    return nn.Sequential(
        _ordered([*layers, ("pool", nn.AdaptiveAvgPool2d(1)), ("flat", nn.Flatten()), ("fc", nn.Linear(8, 2))])
    )


def _ordered(layers):
    from collections import OrderedDict

    return OrderedDict(layers)


def explain(count: int, out: Path, actors: int) -> dict[str, float]:
    """Explains and scores; processor seconds of both, and wall seconds of the first."""
    import torch

    from das_explain.data.dataset import Dataset
    from das_explain.engines.cluster import Cluster
    from das_explain.engines.collect import collect
    from das_explain.explain.plan import Plan
    from das_explain.scoring.options import ScoreOptions
    from das_explain.scoring.run import score_run
    from das_explain.segment import create_segmenter
    from das_explain.types import Sample

    torch.set_num_threads(1)
    samples = tuple(Sample(f"{i:06d}.png", i, LABELS[i % 2]) for i in range(count))
    dataset = Dataset(f"drawn:{count}", samples, LABELS, str(count), Drawn(), has_masks=True)
    labels = out.parent / "labels.txt"
    labels.write_text("\n".join(LABELS) + "\n")
    plan = Plan(
        tuple(f"{name}=python:benchmarks.scale:network?size={SIDE}" for name in ("a", "b")),
        samples,
        dataset.source,
        create_segmenter("masks", dataset),
        LABELS,
        label_files=(labels, labels),
        blocks=("second",),
        batch=64,
        workers=0,
        device="cpu",
    )
    engine = {"engine": "ray", "cluster": Cluster(concurrency=actors, cpus=1)} if actors else {}
    begun, clock = time.process_time(), time.perf_counter()
    run = collect(plan, dataset, out, **engine)
    wall, explained = time.perf_counter() - clock, time.process_time()
    if not actors:
        score_run(run, ScoreOptions())
    return {"explain": explained - begun, "score": time.process_time() - explained, "wall": wall}


def report(out: Path) -> dict[str, float]:
    """Figures and page; processor seconds."""
    from das_explain.evidence.run import Run
    from das_explain.report.publish import publish

    begun = time.process_time()
    publish(Run.open(out))
    return {"report": time.process_time() - begun}


def measure(count: int, actors: int = 0) -> Cost:
    """A run of ``count`` images, in processes of its own."""
    with tempfile.TemporaryDirectory() as folder:
        first = _process("--explain", str(count), "--out", f"{folder}/run", "--with", str(actors))
        second = _process("--report", "--out", f"{folder}/run") if not actors else {"report": 0.0, "memory": 0.0}
    seconds = {name: (first | second)[name] for name in STAGES}
    return Cost(seconds, first["wall"], (first["memory"], second["memory"]))


def _process(*arguments: str) -> dict[str, float]:
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "benchmarks.scale", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", default="100,1000,10000,100000")
    parser.add_argument("--actors", action="store_true")
    parser.add_argument("--explain", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--report", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--with", type=int, dest="having", default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.out:
        told = report(given.out) if given.report else explain(given.explain, given.out, given.having)
        print(json.dumps(told | {"memory": _peak()}))
        return
    print("images    ms per photo: explain  score  report   each further photo   MB: explain and score  report")
    before: tuple[int, float] | None = None
    for count in map(int, given.images.split(",")):
        cost = measure(count)
        whole = sum(cost.seconds.values())
        further = f"{(whole - before[1]) / (count - before[0]) * 1000:.2f}" if before else "-"
        each = [cost.seconds[name] / count * 1000 for name in STAGES]
        print(
            f"{count:<9} {each[0]:20.2f} {each[1]:6.2f} {each[2]:7.2f} {further:>20} {cost.memory[0]:23.0f} "
            f"{cost.memory[1]:7.0f}",
            flush=True,
        )
        before = count, whole
    if given.actors:
        one, two = (measure(count, actors).wall for actors in (1, 2))
        print(
            f"Ray, {count} images, start included: {one:.1f} s with one actor, {two:.1f} s with two: {one / two / 2:.0%}"
        )


if __name__ == "__main__":
    main()
