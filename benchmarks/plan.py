"""What a large run will take, from a small one on this machine: processor hours and disk, photos and models multiplied out.

    python -m benchmarks.plan [--photos 96] [--precision bf16] [--device cuda] [--for 50000x6,14000000x2]

Explains JPEG photos of 500 x 375 with known masks by one ResNet-50 and by two (random weights cost what trained ones do),
blocks layer3 and layer4, and takes what a photo costs by itself (decoding, its frame and mask, the shard) from what each
further model adds; then scores the run. Seconds are wall seconds of this machine, with the processes that it starts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.pipeline import BLOCKS, LABELS, write_photos
from das_explain.checkpoint.save import save_model
from das_explain.data.dataset import open_dataset
from das_explain.engines.collect import collect
from das_explain.explain.contestants import ExplainOptions
from das_explain.explain.plan import Plan
from das_explain.nn import create_model
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.run import score_run
from das_explain.segment import create_segmenter


class Cost(NamedTuple):
    """Of a photo: seconds of explaining, of scoring, and bytes of evidence and of tables."""

    explain: float
    score: float
    evidence: float
    tables: float

    def plus(self, further: Cost, times: float) -> Cost:
        """This and so many times a further one."""
        return Cost(*(mine + times * other for mine, other in zip(self, further)))


def measure(csv: Path, specs: tuple[str, ...], out: Path, precision: str, device: str | None) -> Cost:
    """What a photo costs in a run of these models, loading and the first batch left out."""
    dataset = open_dataset(csv)
    first: list[tuple[int, float]] = []
    plan = Plan(
        specs,
        dataset.samples,
        dataset.source,
        create_segmenter("masks", dataset),
        dataset.labels,
        options=ExplainOptions(precision=precision),
        blocks=BLOCKS,
        device=device,
    )
    run = collect(plan, dataset, out, progress=lambda done, of: first.append((done, time.perf_counter())))
    (begun, start), (done, end) = first[1], first[-1]
    start_of_scoring = time.perf_counter()
    score_run(run, ScoreOptions())
    count = len(dataset)
    sizes = [sum(path.stat().st_size for path in out.glob(name)) / count for name in ("evidence/*", "*.csv")]
    return Cost((end - start) / (done - begun), (time.perf_counter() - start_of_scoring) / count, *sizes)


def main() -> None:
    """Measures and multiplies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device")
    parser.add_argument("--for", dest="plans", default="50000x6,14000000x2")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        csv = write_photos(folder, given.photos)
        for model in "ab":
            network = create_model("resnet50", num_classes=len(LABELS)).eval()
            save_model(folder / model, network, architecture="resnet50", labels=LABELS)
        specs = tuple(f"{model}={folder / model}" for model in "ab")
        one = measure(csv, specs[:1], folder / "one", given.precision, given.device)
        two = measure(csv, specs, folder / "two", given.precision, given.device)
    further = two.plus(one, -1)
    for what, cost in (("one model", one), ("each further", further)):
        print(
            f"{what:<14} {cost.explain * 1000:8.1f} ms to explain, {cost.score * 1000:6.2f} ms to score, "
            f"{cost.evidence / 1000:6.1f} KB of evidence, {cost.tables / 1000:5.1f} KB of tables per photo"
        )
    for text in given.plans.split(","):
        photos, models = map(int, text.split("x"))
        cost = one.plus(further, models - 1)
        print(
            f"{photos:,} photos x {models} models: {1 / cost.explain:.1f} photos/s here, "
            f"{photos * cost.explain / 3600:,.1f} hours of such a machine, {photos * cost.score / 3600:,.1f} to score, "
            f"{photos * cost.evidence / 1e9:,.1f} GB of evidence, {photos * cost.tables / 1e9:,.2f} GB of tables"
        )


if __name__ == "__main__":
    main()
