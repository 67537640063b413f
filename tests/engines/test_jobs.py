"""What actors do, done here, piece after piece and the last piece first: the same bytes as on one machine. No Ray."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from das_explain.engines.actor import row_of
from das_explain.engines.cluster import Cluster
from das_explain.engines.pieces import Job
from das_explain.evidence import shards
from tests.explain import test_pipeline
from tests.gates.test_study import das_explain

setting, small_shards = test_pipeline.setting, test_pipeline.small_shards  # fixtures
RAY = ("--engine", "ray", "--concurrency", 2)


def spread(
    job: Job, pieces: Mapping[int, Any], here: Any, cluster: Cluster, **told: Any
) -> Iterator[tuple[int, pa.Table]]:
    """In place of ``engines.spread.spread``: all that travels is pickled, or an Arrow stream."""
    assert cluster == Cluster(concurrency=2)
    assert sum(map(len, pieces.values())) == told["images"]
    counted: dict[tuple[str, int], int] = {}
    make = pickle.loads(pickle.dumps(job)).begin(1.0, 0.0)
    for number in reversed(pieces):
        piece = pickle.loads(pickle.dumps(pieces[number]))
        for made, table in make([(number, piece)], lambda kind, at, done: counted.update({(kind, at): done})):
            assert made == number
            assert len(table) == len(piece)
            broken = [row for row, status in enumerate(table["status"].to_pylist()) if status == "unreadable"]
            assert job.unread(piece, range(len(piece))) == job.unread(piece, broken) == len(broken)
            yield number, pa.ipc.open_stream(row_of(number, "", table).to_pylist()[0]["table"]).read_all()
    assert {at: done for (kind, at), done in counted.items() if kind == "progress"} in (
        {number: len(piece) for number, piece in pieces.items()},
        {},  # of masks, which are told as they are written
    )


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch, small_shards: None) -> None:
    for module in ("engines.ray", "engines.masks", "gates.spread"):
        monkeypatch.setattr(f"das_explain.{module}.spread", spread)


def both(tmp_path: Path, *arguments: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a command writes without and with a cluster."""
    for name, how in (("here", ()), ("many", RAY)):
        assert das_explain(*arguments, "--workers", 0, "--out", tmp_path / name, *how) == 0
    return tree(tmp_path / "here"), tree(tmp_path / "many")


def tree(folder: Path) -> dict[str, Any]:
    """What is in a folder's files but who made them; of arrays the arrays, since their archive has a time stamp."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".npz":
            with np.load(path) as arrays:
                found[path.name] = {name: (array.shape, array.tobytes()) for name, array in arrays.items()}
        elif path.is_file() and path.name not in ("run.json", "segment.json"):
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


def test_shards_and_tables_are_the_same(setting: dict, tmp_path: Path) -> None:
    models = ("--model", setting["models"][0], "--model", setting["models"][1])
    here, many = both(tmp_path, "sfd", setting["csv"], *models, "--batch", 2, "--no-report")
    assert {"scores.csv", *(f"evidence/{shards.shard_name(number)}" for number in range(4))} <= set(here)
    assert here == many


def test_masks_are_the_same(setting: dict, tmp_path: Path) -> None:
    here, many = both(tmp_path, "segment", setting["csv"])
    assert {"masks.csv", "regions.jsonl", "coco.json", "masks/07.png", "overlays/07.jpg"} <= set(here)
    assert here == many


def test_gates_are_the_same(setting: dict, tmp_path: Path) -> None:
    here, many = both(tmp_path, "gate", setting["csv"], "--model", setting["models"][1], "--batch", 2, "--figures", 6)
    tables = {"gates.csv", "attention.csv", "effects.csv", "regions.jsonl"}
    assert tables | {"05-gate.png", "05-gate.pdf", "05-gate.npz"} <= set(here)
    assert "06-gate.png" not in here
    assert here == many
