"""What a large run will take, from a small one on this machine: processor hours and disk, photos and models multiplied out.

    python -m benchmarks.plan [--photos 96] [--precision bf16] [--device cuda] [--workers 8] [--for 50000x6,14000000x2]

Explains JPEG photos of 500 x 375 with known masks by one ResNet-50 and by two (random weights cost what trained ones do),
blocks layer3 and layer4, and takes what a photo costs by itself (decoding, its frame and mask, the shard) from what each
further model adds; then scores the run. On a CPU seconds are those of one processor (one thread decodes, explains and
scores); on a GPU they are wall seconds of one GPU with ``--workers`` decoding processes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.pipeline import LABELS, plan_of, write_photos
from das_explain.checkpoint.save import save_model
from das_explain.engines.collect import collect
from das_explain.nn import create_model
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run


class Cost(NamedTuple):
    """Of a photo: seconds of explaining, of scoring, and bytes of evidence and of tables."""

    explain: float
    score: float
    evidence: float
    tables: float

    def plus(self, further: Cost, times: float) -> Cost:
        """This and so many times a further one."""
        return Cost(*(mine + times * other for mine, other in zip(self, further)))


def measure(csv: Path, specs: tuple[str, ...], out: Path, precision: str, device: str, workers: int) -> Cost:
    """What a photo costs in a run of these models, loading and the first batch left out."""
    plan, dataset = plan_of(csv, specs, precision, workers, device)
    clock = time.process_time if device == "cpu" else time.perf_counter
    told: list[tuple[int, float]] = []
    run = collect(plan, dataset, out, progress=lambda done, of: told.append((done, clock())))
    (begun, start), (done, end) = told[1], told[-1]
    score_run(run, ScoreOptions())  # whatever is imported once
    explained = clock()
    score_run(run, ScoreOptions())
    count = len(dataset)
    sizes = [sum(path.stat().st_size for path in out.glob(name)) / count for name in ("evidence/*", "*.csv")]
    return Cost((end - start) / (done - begun), (clock() - explained) / count, *sizes)


def main() -> None:
    """Measures and multiplies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--for", dest="plans", default="50000x6,14000000x2")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        csv = write_photos(folder, given.photos)
        for model in "ab":
            network = create_model("resnet50", num_classes=len(LABELS)).eval()
            save_model(folder / model, network, architecture="resnet50", labels=LABELS)
        specs = tuple(f"{model}={folder / model}" for model in "ab")
        one = measure(csv, specs[:1], folder / "one", given.precision, given.device, given.workers)
        two = measure(csv, specs, folder / "two", given.precision, given.device, given.workers)
    further = two.plus(one, -1)
    for what, cost in (("one model", one), ("each further", further)):
        print(
            f"{what:<14} {cost.explain * 1000:8.1f} ms to explain, {cost.score * 1000:6.2f} ms to score, "
            f"{cost.evidence / 1000:6.1f} KB of evidence, {cost.tables / 1000:5.1f} KB of tables per photo"
        )
    unit = "processor" if given.device == "cpu" else "GPU"
    for text in given.plans.split(","):
        photos, models = map(int, text.split("x"))
        cost = one.plus(further, models - 1)
        print(
            f"{photos:,} photos x {models} models: {1 / cost.explain:.2f} photos/s by a {unit}, "
            f"{photos * cost.explain / 3600:,.0f} {unit} hours, {photos * cost.score / 3600:,.1f} hours to score, "
            f"{photos * cost.evidence / 1e9:,.1f} GB of evidence, {photos * cost.tables / 1e9:,.1f} GB of tables"
        )


if __name__ == "__main__":
    main()
