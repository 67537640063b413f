"""A disk that is full: one error that names the file, whoever was writing, and no half of a file is left."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from das_explain import figures
from das_explain.accuracy.journal import Journal
from das_explain.checkpoint.save import save_model
from das_explain.data.coco.write import CocoWriter
from das_explain.errors import DasExplainError
from das_explain.evidence.codec import SCHEMA
from das_explain.evidence.shards import Shards
from das_explain.evidence.tables import TableWriter, write_table
from das_explain.files import open_new, replace_file, write_json, write_text_whole
from das_explain.nn import create_model
from das_explain.segment.cache import MaskCache
from das_explain.types import Region

resource = pytest.importorskip("resource", reason="no limit on files there")
ROOM = 4096  # bytes that a file may have
NOISE = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)


@pytest.fixture
def full() -> Iterator[None]:
    """No file gets larger than ``ROOM``: writing fails in the midst of it, as on a full disk."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def drawn() -> Figure:
    figure = Figure(figsize=(2, 2))
    figure.add_subplot().imshow(NOISE)
    return figure


def new_file(path: Path) -> None:
    with open_new(path) as file:
        file.write(bytes(2 * ROOM))


def journal(path: Path) -> None:
    with Journal(path.parent, {}, {"torch": "2.0"}) as lines:
        for _ in range(100):
            lines.add("x" * 1000)


def coco(path: Path) -> None:
    with CocoWriter(path, ("cat",), {}) as writer:
        for number in range(500):
            writer.add(f"{number}.png", (9, 9), "cat", None)


def rows(path: Path) -> None:
    with TableWriter(path, ("a", "b")) as writer:
        for number in range(100):
            writer.add(pd.DataFrame({"a": [f"{number}" * 50], "b": [1.0]}))


def checkpoint(path: Path) -> None:
    """As Lightning saves one."""
    from lightning.fabric.utilities.cloud_io import _atomic_save

    _atomic_save({"a": torch.ones(9999)}, str(path))


SHARD = pa.table({field.name: pa.array([None] * 3000, field.type) for field in SCHEMA}).set_column(
    1, "image", pa.array([f"{number * 7919} {number * 104729}.png" for number in range(3000)])
)
WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a figure as PNG": ("f.png", lambda path: figures.save(drawn(), path.with_suffix(""), ("png",))),
    "a figure as PDF": ("f.pdf", lambda path: figures.save(drawn(), path.with_suffix(""), ("pdf",))),
    "a figure as SVG": ("f.svg", lambda path: figures.save(drawn(), path.with_suffix(""), ("svg",))),
    "arrays": ("a.npz", lambda path: replace_file(path, lambda part: np.savez_compressed(part, a=NOISE))),
    "a picture": ("p.png", lambda path: replace_file(path, lambda part: Image.fromarray(NOISE).save(part))),
    "a JPEG": ("p.jpg", lambda path: replace_file(path, lambda part: Image.fromarray(NOISE).save(part, quality=100))),
    "a text": ("t.txt", lambda path: write_text_whole(path, "x" * 9999)),
    "JSON": ("j.json", lambda path: write_json(path, ["x" * 9999])),
    "a new file": ("n.bin", new_file),
    "a table": ("t.csv", lambda path: write_table(path, pd.DataFrame({"a": ["x" * 99] * 99}))),
    "rows of a table": ("t.csv", rows),
    "a shard": ("part-00000.parquet", lambda path: Shards(path.parent, 3000).write(0, SHARD)),
    "an evaluation's journal": ("unfinished.jsonl", journal),
    "COCO": ("coco.json", coco),
    "a checkpoint": ("c.ckpt", lambda path: replace_file(path, checkpoint)),
    "a model directory": (
        "model", lambda path: save_model(path, create_model("resnet18", num_classes=2), architecture="resnet18"),
    ),
    "the mask cache": (
        "masks", lambda path: MaskCache({"name": "x"}, path).store("0" * 64, Region(NOISE[..., 0] > 99)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_no_half(tmp_path: Path, full: None, what: str):
    name, write = WRITERS[what]
    path = tmp_path / "evidence" / name
    path.parent.mkdir()
    with pytest.raises((OSError, DasExplainError)) as refused:
        write(path)
    told = str(refused.value)
    assert name in told and "large" in told, told  # EFBIG, where a disk says ENOSPC
    assert "\n" not in told
    left = [each for each in path.parent.rglob("*") if each.is_file()]
    assert not left or what == "an evaluation's journal", "which keeps what it has"
    json.dumps(told)
