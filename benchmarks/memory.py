"""Peak memory of scoring and of the report: a run of 10,000 images against one of 100 (made up, no network).

python benchmarks/memory.py [--images 10000]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from das_explain.data.geometry import Geometry, Preprocess
from das_explain.evidence.codec import encode, jpeg
from das_explain.evidence.run import Run
from das_explain.evidence.shards import shard_count, shard_range
from das_explain.evidence.values import BlockMaps, Evidence, Key, Photo, keep_logits
from das_explain.types import Sample

SIDE, LABELS = 64, ["cat", "dog"]
BLOCKS = {"layer3": 14, "layer4": 7}


def make_run(folder: Path, count: int) -> None:
    """A whole run of two models whose photos, masks and maps are drawn."""
    rng = np.random.default_rng(0)
    preprocess = Preprocess(Geometry((SIDE, SIDE), SIDE))
    key = preprocess.geometry.key
    entry = {
        "spec": "-",
        "fingerprint": "-",
        "blocks": list(BLOCKS),
        "preprocess": preprocess.to_config(),
        "labels": LABELS,
        "logit": {"cat": 0, "dog": 1},
    }
    manifest = {
        "command": [],
        "seed": 0,
        "models": [{"name": name, **entry} for name in ("a", "b")],
        "groups": {"a": ["a"], "b": ["b"]},
        "options": {"method": "gradcam", "target": "label", "precision": "fp32"},
        "data": {"spec": "made up", "fingerprint": "-", "count": count, "sampled": count, "stratified": False},
        "segmenter": {"name": "masks"},
    }
    samples = [Sample(f"class-{i % 2}/photo-{i:06d}.jpg", i, LABELS[i % 2]) for i in range(count)]
    run = Run.start(folder, manifest, samples)
    frame = jpeg(rng.integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8))
    for number in range(shard_count(count)):
        part = shard_range(number, count)
        n = len(part)
        masks = np.zeros((n, SIDE, SIDE), bool)
        for row in range(n):
            y, x = rng.integers(4, 30, 2)
            masks[row, y : y + 24, x : x + 24] = True
        evidence = Evidence(
            photos=[Photo(i, samples[i].name, samples[i].label, "ok", "", 320, 240) for i in part],
            shown=np.arange(n),
            geometries={"a": key, "b": key},
            sizes={key: (SIDE, SIDE)},
            frames={key: [frame] * n},
            masks={key: masks},
            maps={
                Key(model, block): BlockMaps(rng.random((n, side, side), dtype=np.float32), np.ones(n, np.float32))
                for model in "ab"
                for block, side in BLOCKS.items()
            },
            logits={m: keep_logits(rng.random((n, 2), dtype=np.float32), np.zeros(n, np.int32)) for m in "ab"},
        )
        run.shards.write(number, encode(evidence))


CHILD = """
import resource, sys
from pathlib import Path
from das_explain.evidence.run import Run
run = Run.open(sys.argv[2])
if sys.argv[1] == "score":
    from das_explain.scoring.run import score_run
    score_run(run)
else:
    from das_explain.report.publish import publish
    publish(run)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(what: str, folder: Path) -> float:
    """Peak resident memory in MB of a process that does this to a run."""
    done = subprocess.run([sys.executable, "-c", CHILD, what, str(folder)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folders = {count: Path(name) / str(count) for count in (100, arguments.images)}
        for count, folder in folders.items():
            make_run(folder, count)
        for what in ("score", "report"):
            small, large = (peak(what, folder) for folder in folders.values())
            print(json.dumps({"what": what, "100": round(small), str(arguments.images): round(large)}), end="  ")
            print(f"{large / small:.3f} times")


if __name__ == "__main__":
    main()
