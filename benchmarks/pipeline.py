"""What the main job costs beside its maps: ``sfd`` on photos with known masks and two ResNet-50s, in one process.

    python benchmarks/pipeline.py [--photos 200] [--threads 1] [--peer 16]
    python benchmarks/pipeline.py --whole [--photos 96]     # as whole processes, starting and loading included

Prints, for fp32 and bf16, the processor time of the whole run after the models are loaded (decoding, maps, evidence,
scores with nulls, tables: sfd and the pointing game alone, then every measure and the readings, as by default) over that
of the maps alone, which is taken inside the very same run, and what each other stage adds to it; four photos go first, by
which Python loads what is only imported when it is used (``--whole`` counts that); the milliseconds that
scoring takes per map, nulls included; how far maps in bf16 are from those in fp32, of the shipped pair, since of random
weights that says nothing; and how much longer the same work takes as a script around pytorch-grad-cam (extra
``benchmark`` is not needed: it is a dependency), one layer and one model at a time, on ``--peer`` photos.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from PIL import Image

from das_explain.batches import load
from das_explain.checkpoint.load import load_model
from das_explain.checkpoint.save import save_model
from das_explain.data.dataset import Dataset, open_dataset
from das_explain.engines import collect as collecting
from das_explain.engines import shard
from das_explain.evidence import run as evidence
from das_explain.evidence.shards import Shards
from das_explain.evidence.tables import TableWriter
from das_explain.explain import explainer as explaining
from das_explain.explain.contestants import ExplainOptions
from das_explain.explain.plan import Plan
from das_explain.measures.sfd import sfd_score
from das_explain.nn import create_model
from das_explain.scoring import parts
from das_explain.scoring import run as scoring
from das_explain.scoring.options import ScoreOptions
from das_explain.scoring.reading_table import ReadingTable
from das_explain.scoring.scorer import Scorer
from das_explain.segment import create_segmenter

LABELS = [f"class {i}" for i in range(10)]
BLOCKS = ("layer3", "layer4")
TWO = ScoreOptions(measures=("sfd", "pointing_game"), readings=False)
STAGES = {  # what is timed: where it is called from, and its name there; no one calls another
    "maps": [(explaining, "explain_with")],
    "decoding": [(load._Decoder, "__getitem__")],
    "batches": [(load, "_batch"), (explaining.Inputs, "of")],
    "frames' JPEG": [(explaining, "jpeg")],
    "packing": [(shard, "encode"), (Shards, "write")],
    "unpacking": [(evidence, "decode")],
    "assumptions": [(collecting, "assume_of_regions")],
    "scoring": [(Scorer, "score")],
    "readings": [(parts, "read_all_ways"), (ReadingTable, "add")],
    "rows": [(scoring, "score_columns"), (scoring, "measure_rows"), (scoring, "null_rows"), (TableWriter, "add")],
    "statistics": [
        (scoring, "_write_statistics"),
        (scoring, "write_verdict_tables"),
    ],
}


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


@contextmanager
def clocks() -> Iterator[dict[str, float]]:
    """Processor seconds by stage of ``STAGES``, added up while the block runs."""
    seconds = dict.fromkeys(STAGES, 0.0)

    def timed(stage: str, function):
        def call(*arguments, **named):
            start = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                seconds[stage] += time.process_time() - start

        return call

    with ExitStack() as patched:
        for stage, places in STAGES.items():
            for owner, name in places:
                patched.enter_context(patch.object(owner, name, timed(stage, getattr(owner, name))))
        yield seconds


def plan_of(
    csv: Path, specs: tuple[str, ...], precision: str, workers: int = 0, device: str = "cpu"
) -> tuple[Plan, Dataset]:
    """A run of these models on photos with known masks."""
    dataset = open_dataset(csv)
    plan = Plan(
        specs,
        dataset.samples,
        dataset.source,
        create_segmenter("masks", dataset),
        dataset.labels,
        options=ExplainOptions(precision=precision),
        blocks=BLOCKS,
        workers=workers,
        device=device,
    )
    return plan, dataset


def ours(
    csv: Path, specs: tuple[str, ...], out: Path, precision: str, scored: ScoreOptions
) -> tuple[float, dict[str, float]]:
    """Processor seconds of the whole run after loading, and of its stages."""
    plan, dataset = plan_of(csv, specs, precision)
    loaded = plan.explainer()
    with patch.object(Plan, "explainer", lambda self: loaded), clocks() as seconds:
        start = time.process_time()
        scoring.score_run(collecting.collect(plan, dataset, out), scored)
        whole = time.process_time() - start
    return whole, seconds


def print_shares(title: str, whole: float, seconds: dict[str, float], count: int) -> None:
    """What a run costs beside its maps."""
    maps = seconds["maps"]
    others = {stage: spent for stage, spent in seconds.items() if stage != "maps"}
    others["the rest"] = whole - sum(seconds.values())
    shares = ", ".join(f"{stage} {spent / maps:.3f}" for stage, spent in others.items() if spent)
    print(
        f"{title}: whole run {whole:.1f} s, maps {maps:.1f} s: {whole / maps:.3f} times the maps; "
        f"scoring {1000 * seconds['scoring'] / count:.2f} ms per map"
    )
    print(f"    times the maps: {shares}")


def print_precision(images: int = 32) -> None:
    """How far bf16 is from fp32 on trained networks."""
    from das_explain.cam.engine import grad_cam
    from das_explain.cam.fast import fast_copy

    for name in ("collage-resnet18", "collage-das-resnet18"):
        model = load_model(name, device="cpu")
        dataset = open_dataset(f"collage:{images}")
        photos = torch.stack([model.preprocess(dataset.source.read(sample)) for sample in dataset.samples])
        targets = torch.tensor([model.labels.index(sample.label) for sample in dataset.samples])
        blocks = {block: dict(model.network.named_modules())[block] for block in BLOCKS}
        maps = {}
        for precision in ("fp32", "bf16"):
            network, modules = fast_copy(model.network, blocks, tuple(photos.shape[2:]), precision=precision)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                maps[precision] = grad_cam(network, photos, targets, modules)
        apart = [(maps["bf16"][block].map - maps["fp32"][block].map).abs() for block in BLOCKS]
        told = ", ".join(f"{block} {each.mean():.4f} (at most {each.max():.3f})" for block, each in zip(BLOCKS, apart))
        print(f"{name}, {images} photos: maps in bf16 differ from fp32's by a mean of {told}")


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


def whole_processes(csv: Path, folders: list[Path], out: Path) -> None:
    """``das-explain sfd`` and the script, each as a process of its own, one after another: seconds and processor seconds."""
    models = [part for name, folder in zip("ab", folders) for part in ("-m", f"{name}={folder}")]
    sfd = ["-m", "das_explain", "sfd", str(csv), *models, "--blocks", ",".join(BLOCKS)]
    ways = {
        "fp32": [*sfd, "--out", str(out / "fp32")],
        "bf16": [*sfd, "--precision", "bf16", "--out", str(out / "bf16")],
        "script with pytorch-grad-cam": [__file__, "--as-script", str(csv), *map(str, folders)],
    }
    spent = {}
    for name, command in ways.items():
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        spent[name] = time.perf_counter() - start, used
        print(f"{name}: {spent[name][0]:.1f} s, {used:.1f} s of the processor")
    script = spent["script with pytorch-grad-cam"]
    for name in ("fp32", "bf16"):
        clock, processor = (theirs / mine for theirs, mine in zip(script, spent[name]))
        print(f"the script takes {clock:.1f} times as long as {name}, {processor:.1f} times the processor time")


def as_script(csv: Path, folders: list[Path]) -> None:
    """The whole of the script: it loads the networks and explains all photos."""
    networks = [load_model(str(folder), device="cpu").network for folder in folders]
    peer(csv, networks, len(pd.read_csv(csv)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument(
        "--threads", type=int, default=1, help="of PyTorch; with --whole as many as there are processors"
    )
    parser.add_argument("--peer", type=int, default=16, help="photos for the script; 0: leave it out")
    parser.add_argument("--whole", action="store_true", help="compare whole processes")
    parser.add_argument("--as-script", nargs="+", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.as_script:
        as_script(arguments.as_script[0], arguments.as_script[1:])
        return
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        csv = write_photos(folder, arguments.photos)
        networks, folders = [], [folder / "net0", folder / "net1"]
        for seed, each in enumerate(folders):
            torch.manual_seed(seed)
            networks.append(create_model("resnet50", num_classes=len(LABELS)).eval())
            save_model(each, networks[-1], architecture="resnet50", labels=LABELS)
        if arguments.whole:
            whole_processes(csv, folders, folder)
            return
        specs = tuple(f"{name}={each}" for name, each in zip("ab", folders))
        count = arguments.photos * len(specs) * len(BLOCKS)
        per_photo = {}
        (folder / "first").mkdir()
        ours(write_photos(folder / "first", 4), specs, folder / "warm", "fp32", ScoreOptions())
        for scored, words in ((TWO, "sfd and the pointing game"), (ScoreOptions(), "all measures and 864 readings")):
            for precision in ("fp32", "bf16"):
                whole, seconds = ours(csv, specs, folder / f"{precision}, {words}", precision, scored)
                per_photo.setdefault(precision, whole / arguments.photos)
                print_shares(f"{precision}, {words}", whole, seconds, count)
        print_precision()
        if arguments.peer:
            theirs = peer(csv, networks, arguments.peer)
            print(
                f"script with pytorch-grad-cam: {theirs:.2f} s per photo, {theirs / per_photo['fp32']:.1f} times ours in fp32"
            )


if __name__ == "__main__":
    main()
