"""What the main job costs beside its maps: ``sfd`` on photos with known masks and two ResNet-50s, in one process.

    python benchmarks/pipeline.py [--photos 200] [--threads 1] [--peer 16]

Prints, for fp32 and bf16, the processor time of the whole run after the models are loaded (decoding, maps, evidence,
scores with nulls, tables, without and with ``readings.csv``) over that of the maps alone, which is taken inside the very same run; the milliseconds that
scoring takes per map, nulls included; and how much longer the same work takes as a script around pytorch-grad-cam (extra
``benchmark`` is not needed: it is a dependency), one layer and one model at a time, on ``--peer`` photos.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from das_explain.cam import methods
from das_explain.checkpoint.save import save_model
from das_explain.data.dataset import open_dataset
from das_explain.engines.collect import collect
from das_explain.explain import explainer as explaining
from das_explain.explain.contestants import ExplainOptions
from das_explain.explain.plan import Plan
from das_explain.measures.sfd import sfd_score
from das_explain.nn import create_model
from das_explain.scoring import run as scoring
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.scorer import Scorer
from das_explain.segment import create_segmenter

LABELS = [f"class {i}" for i in range(10)]
BLOCKS = ("layer3", "layer4")


def write_photos(folder: Path, count: int) -> Path:
    """A CSV of JPEG photos of 500 x 375, smooth noise with a bright ellipse each, and the ellipse's mask."""
    rng = np.random.default_rng(0)
    rows = []
    y, x = np.mgrid[:375, :500]
    for i in range(count):
        small = Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8))
        pixels = np.asarray(small.resize((500, 375), Image.Resampling.BICUBIC)).copy()
        cy, cx, ry, rx = rng.uniform((120, 160, 50, 60), (255, 340, 110, 140))
        mask = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
        pixels[mask] = (pixels[mask] // 2 + 127).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:04d}.jpg", quality=90)
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{i:04d}.png")
        rows.append((f"{i:04d}.jpg", LABELS[i % len(LABELS)], f"{i:04d}.png"))
    pd.DataFrame(rows, columns=["image", "label", "mask"]).to_csv(folder / "photos.csv", index=False)
    return folder / "photos.csv"


class Clock:
    """Adds up the processor time that a function takes wherever it is called from."""

    def __init__(self, function) -> None:
        self.function, self.seconds, self.calls = function, 0.0, 0

    def __call__(self, *arguments, **named):
        start = time.process_time()
        try:
            return self.function(*arguments, **named)
        finally:
            self.seconds += time.process_time() - start
            self.calls += 1


def ours(csv: Path, specs: tuple[str, ...], out: Path, precision: str, *, readings: bool) -> tuple[float, float, float]:
    """Processor seconds of the whole run after loading, of its maps, and of scoring alone."""
    dataset = open_dataset(csv)
    options = ExplainOptions(precision=precision)
    plan = Plan(
        specs,
        dataset.samples,
        dataset.source,
        create_segmenter("masks", dataset),
        dataset.labels,
        options=options,
        blocks=BLOCKS,
        workers=0,
        device="cpu",
    )
    loaded = plan.explainer()
    maps, score = Clock(methods.explain_with), Clock(Scorer.score)
    before = explaining.explain_with, Scorer.score, Plan.explainer
    explaining.explain_with = maps

    def timed(self: Scorer, *arguments):
        return score(self, *arguments)

    Scorer.score = timed
    Plan.explainer = lambda self: loaded
    try:
        start = time.process_time()
        scoring.score_run(collect(plan, dataset, out), ScoreOptions(readings=readings))
        whole = time.process_time() - start
    finally:
        explaining.explain_with, Scorer.score, Plan.explainer = before
    return whole, maps.seconds, score.seconds


def peer(csv: Path, networks: list[torch.nn.Module], count: int) -> float:
    """Processor seconds per photo of the script that one would write around pytorch-grad-cam, scores with nulls too."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
    from torchvision import transforms

    table = pd.read_csv(csv).head(count)
    view = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])
    prepare = transforms.Compose(
        [view, transforms.ToTensor(), transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    )
    start = time.process_time()
    for network in networks:
        for block in BLOCKS:
            with GradCAM(network, [getattr(network, block)]) as explainer:
                for first in range(0, len(table), 16):
                    part = table.iloc[first : first + 16]
                    images = torch.stack(
                        [prepare(Image.open(csv.parent / name).convert("RGB")) for name in part["image"]]
                    )
                    targets = [ClassifierOutputTarget(LABELS.index(label)) for label in part["label"]]
                    cams = torch.from_numpy(explainer(images, targets))
                    masks = [np.asarray(view(Image.open(csv.parent / name))) > 127 for name in part["mask"]]
                    sfd_score(cams, torch.from_numpy(np.stack(masks)))
                    sfd_score(cams.roll(1, 0), torch.from_numpy(np.stack(masks)))
    return (time.process_time() - start) / len(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peer", type=int, default=16, help="photos for the script; 0: leave it out")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        csv = write_photos(folder, arguments.photos)
        networks = []
        for seed in range(2):
            torch.manual_seed(seed)
            networks.append(create_model("resnet50", num_classes=len(LABELS)).eval())
            save_model(folder / f"net{seed}", networks[-1], architecture="resnet50", labels=LABELS)
        specs = (f"a={folder / 'net0'}", f"b={folder / 'net1'}")
        count = arguments.photos * len(specs) * len(BLOCKS)
        per_photo = {}
        for precision, readings in (("fp32", False), ("bf16", False), ("fp32", True)):
            out = folder / f"{precision}-{readings}"
            whole, maps, score = ours(csv, specs, out, precision, readings=readings)
            per_photo.setdefault(precision, whole / arguments.photos)
            told = ", with its 864 readings" if readings else ""
            print(
                f"{precision}{told}: whole run {whole:.1f} s, maps {maps:.1f} s: {whole / maps:.3f} times the maps; "
                f"scoring {1000 * score / count:.2f} ms per map"
            )
        if arguments.peer:
            theirs = peer(csv, networks, arguments.peer)
            print(
                f"script with pytorch-grad-cam: {theirs:.2f} s per photo, {theirs / per_photo['fp32']:.1f} times ours in fp32"
            )


if __name__ == "__main__":
    main()
