"""What a command imports before it can begin: half of the time that a few photos take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
NOT_NEEDED = {
    "torch._dynamo",  # PyTorch's compiler, which torchvision and networks without values ask for in passing
    "torch._inductor",
    "sympy",
    "scipy.stats",  # for many images only
    "scipy.optimize",
    "matplotlib.pyplot",
    "pytorch_grad_cam",
    "sklearn",
    "skimage",
    "timm",
    "transformers",
    "ray",
}
PROGRAM = """
import sys
sys.argv[:1] = ["das-explain"]
from das_explain.commands import main
try:
    main()
finally:
    print("IMPORTED", *sorted(sys.modules), file=sys.stderr)
"""


def imported_by(*arguments: str, folder: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.partition("IMPORTED ")[2].split())


def test_two_photos_are_scored_and_scored_again_without_what_neither_needs(tmp_path: Path) -> None:
    y, x = np.mgrid[:96, :96]
    for i, label in enumerate(("cat", "cup")):
        mask = (y - 48) ** 2 + (x - 40 - 10 * i) ** 2 < 400
        pixels = np.random.default_rng(i).integers(0, 200, (96, 96, 3), dtype=np.uint8)
        pixels[mask] += 50
        Image.fromarray(pixels).save(tmp_path / f"{label}.jpg")
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / f"{label}.png")
    (tmp_path / "photos.csv").write_text("image,label,mask\ncat.jpg,cat,cat.png\ncup.jpg,cup,cup.png\n")
    pair = [ROOT / "models" / name for name in ("collage-resnet18", "collage-das-resnet18")]
    models = [part for name, folder in zip("ab", pair, strict=True) for part in ("-m", f"{name}={folder}")]

    begun = imported_by("sfd", "photos.csv", *models, "--out", "run", folder=tmp_path)
    again = imported_by("score", "run", "--threshold", "0.5", folder=tmp_path)

    assert (tmp_path / "run" / "report" / "index.html").exists()
    assert {"torch", "torchvision", "matplotlib.figure"} <= begun
    assert not NOT_NEEDED & begun
    assert not NOT_NEEDED & again
