"""The core works without the extras, and an extra that is missing is one line with what installs it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from das_explain.errors import DasExplainError
from das_explain.segment.finders.options import FinderOptions
from tests.photos import store

ROOT = Path(__file__).parents[2]
EXTRAS = (
    "transformers",
    "tokenizers",
    "segment_anything",
    "groundingdino",
    "timm",
    "lightning",
    "tensorboard",
    "pycocotools",
    "pillow_heif",
    "ray",
)
PHOTOGRAPHS = ("skimage", "sklearn")
PROGRAM = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None  # an import of it fails as if it were not installed
sys.argv[:1] = ["das-explain"]
from das_explain.commands import main
main()
"""


def run_without(blocked: tuple[str, ...], *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(blocked=blocked), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A CSV of three photos with masks, of classes that the shipped network knows."""
    rng = np.random.default_rng(3)
    lines = []
    for i, label in enumerate(("cat", "cup", "coin")):
        store(Image.fromarray(rng.integers(0, 255, (64, 80, 3), dtype=np.uint8)), tmp_path / f"{i}.png")
        mask = np.zeros((64, 80), np.uint8)
        mask[20:50, 20:60] = 255
        store(Image.fromarray(mask), tmp_path / "masks" / f"{i}.png")
        lines.append(f"{i}.png,{label},masks/{i}.png\n")
    (tmp_path / "photos.csv").write_text("image,label,mask\n" + "".join(lines), encoding="utf-8")
    return tmp_path


def test_photos_with_masks_are_scored_without_extras_and_without_the_photographs(photos: Path) -> None:
    model = f"plain={ROOT / 'models' / 'collage-resnet18'}"
    done = run_without(
        (*EXTRAS, *PHOTOGRAPHS), "sfd", "photos.csv", "--model", model, "--workers", "0", "--out", "run", folder=photos
    )
    assert done.returncode == 0, done.stderr
    with (photos / "run" / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted({row["image"] for row in rows}) == ["0.png", "1.png", "2.png"]
    assert (photos / "run" / "report" / "index.html").exists()


@pytest.mark.parametrize(
    ("blocked", "arguments", "expected"),
    [
        ("transformers", ["segment", "a.png", "--segmenter", "grounded-sam", "--prompt", "a cat"], "segment"),
        ("timm", ["models", "show", "timm:resnet18"], "timm"),
        ("lightning", ["train", "collage-resnet18", "--out", "model"], "train"),
    ],
)
def test_a_command_that_needs_an_extra_names_it_on_one_line(
    photos: Path, blocked: str, arguments: list[str], expected: str
) -> None:
    if arguments[0] == "segment":
        arguments = ["segment", "photos.csv", *arguments[2:], "--out", "out"]
    done = run_without((blocked,), *arguments, folder=photos)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"needs the package {blocked}: pip install 'das-explain[{expected}]'" in line


def test_a_checkpoint_file_of_sam_needs_segment_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    (tmp_path / "sam.pth").write_bytes(b"")
    with pytest.raises(DasExplainError, match=r"segment-anything: pip install 'das-explain\[segment\]'"):
        FinderOptions(sam=str(tmp_path / "sam.pth")).create("boxes+sam")


def test_the_collage_without_the_photographs_is_one_line_before_anything_runs(tmp_path: Path) -> None:
    model = f"plain={ROOT / 'models' / 'collage-resnet18'}"
    done = run_without(PHOTOGRAPHS, "sfd", "collage:2", "--model", model, "--out", "run", folder=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith("pip install scikit-image")
    assert not (tmp_path / "run").exists()
