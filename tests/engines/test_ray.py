"""The main job on Ray: the shards and tables of one machine, byte for byte. Runs where the extra ``ray`` is installed.

One cluster of two nodes for the whole module, both on this machine; on the second no photo can be read by a ``Blind``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from das_explain.data.dataset import Dataset, open_dataset
from das_explain.engines.cluster import Cluster
from das_explain.engines.ray import RayEngine
from das_explain.errors import DasExplainError, UsageError
from das_explain.evidence import shards
from das_explain.evidence.run import Run
from das_explain.explain.plan import Plan
from das_explain.segment import create_segmenter
from das_explain.types import no_progress
from tests.engines.test_jobs import tree
from tests.engines.trouble import BLIND, Blind, Deadly
from tests.explain import test_pipeline
from tests.gates.test_study import das_explain
from tests.runs import score_dataset

pytest.importorskip("ray")
pytestmark = pytest.mark.usefixtures("small_shards")
ROOT = Path(__file__).parents[2]
setting, small_shards = test_pipeline.setting, test_pipeline.small_shards  # fixtures


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Two nodes of two processors each."""
    from ray.cluster_utils import Cluster as Machines

    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("PYTHONPATH", str(ROOT)), ("OMP_NUM_THREADS", "1"), ("RAY_worker_niceness", "0")):
            patch.setenv(name, value)
        small = {"num_cpus": 2, "object_store_memory": 100_000_000}
        machines = Machines(initialize_head=True, head_node_args={**small, "include_dashboard": False})
        machines.add_node(**small, env_vars={BLIND: "1"})
        machines.wait_for_nodes()
        yield machines.address
        machines.shutdown()


@pytest.fixture(scope="module")
def dataset(setting: dict) -> Dataset:
    return open_dataset(setting["csv"])


def run(dataset: Dataset, setting: dict, out: Path, **how: Any) -> Run:
    return score_dataset(dataset, create_segmenter("masks", dataset), models=setting["models"], out=out, **how)


@pytest.fixture(scope="module")
def local(dataset: Dataset, setting: dict) -> dict[str, bytes]:
    """What this machine alone makes of the photos."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SIZE", 5)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        made = run(dataset, setting, setting["folder"] / "local")
        torch.set_num_threads(threads)
    return files(made.folder)


def files(folder: Path) -> dict[str, bytes]:
    """Shards and tables."""
    found = sorted((*folder.glob("*.csv"), *folder.glob("evidence/*.parquet")))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_one_two_and_three_actors_make_the_same_bytes(dataset, setting, local, address, tmp_path: Path) -> None:
    assert len(local) > 8
    for actors, cpus in ((1, 1.0), (2, 1.0), (3, 0.5)):
        told: list[tuple[int, int]] = []
        made = run(
            dataset,
            setting,
            tmp_path / str(actors),
            engine="ray",
            cluster=Cluster(address, actors, cpus=cpus),
            progress=lambda done, of, told=told: told.append((done, of)),
        )
        assert files(made.folder) == local
        assert told == sorted(told)
        assert told[0] == (0, 16)
        assert told[-1] == (16, 16)
        assert made.manifest["engine"] == "ray"


def test_an_actor_that_is_killed_is_replaced(dataset, setting, local, address, tmp_path: Path) -> None:
    deadly = replace(dataset, source=Deadly(marker=tmp_path / "killed", driver=os.getpid()))
    made = run(deadly, setting, tmp_path / "out", engine="ray", cluster=Cluster(address, 1, cpus=1))
    assert (tmp_path / "killed").exists()
    assert files(made.folder) == local


def test_a_photo_that_one_node_cannot_read_is_read_by_another(
    dataset,
    setting,
    local,
    address,
    tmp_path: Path,
    monkeypatch,
) -> None:
    here = replace(dataset, source=Blind(marker=tmp_path / "blind"))
    made = run(here, setting, tmp_path / "here", engine="ray", cluster=Cluster(address, 4, cpus=1))
    assert (tmp_path / "blind").exists(), "the blind node had its share"
    assert files(made.folder) == local
    monkeypatch.setenv(BLIND, "1")  # now this process is as blind, and only the first node sees
    there = replace(dataset, source=Blind(marker=tmp_path / "again"))
    made = run(there, setting, tmp_path / "there", engine="ray", cluster=Cluster(address, 4, cpus=1))
    assert files(made.folder) == local


def test_a_driver_that_is_killed_is_continued(dataset, setting, local, address, tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from das_explain.data.dataset import open_dataset
from das_explain.engines.cluster import Cluster
from das_explain.engines.ray import RayEngine
from das_explain.evidence import shards
from tests.engines.test_ray import run
shards.SIZE = 5
write = shards.Shards.write
def write_and_die(*arguments):
    write(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
shards.Shards.write = write_and_die
setting = {{"models": {setting["models"]!r}}}
run(open_dataset({str(setting["csv"])!r}), setting, Path({str(tmp_path / "out")!r}), engine="ray", cluster=Cluster({address!r}, 1, cpus=1))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list((tmp_path / "out/evidence").glob("*.parquet"))) == 1
    told: list[tuple[int, int]] = []
    made = run(
        dataset,
        setting,
        tmp_path / "out",
        engine="ray",
        cluster=Cluster(address, 1, cpus=1),
        progress=lambda done, of: told.append((done, of)),
    )
    assert told[0][0] in (1, 5)
    assert files(made.folder) == local


def test_what_goes_wrong_on_a_worker_is_one_line_here(dataset, setting, address, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--concurrency 5: the cluster \(2 CPUs \+ 2 CPUs\) has room for 4 actors"):
        run(dataset, setting, tmp_path / "many", engine="ray", cluster=Cluster(address, 5, cpus=1))
    plan = Plan(models=("a=nowhere/at/all",), samples=dataset.samples, source=dataset.source, segmenter=None)
    with pytest.raises(DasExplainError, match=r"^[^\n]*nowhere/at/all[^\n]*$"):
        list(RayEngine(Cluster(address, 1, cpus=1)).run(plan, [0], None, no_progress, no_progress))
    broken: Any = replace(plan, models=setting["models"], batch="many")
    with pytest.raises(DasExplainError, match=r"^--engine ray: [^\n]*TypeError[^\n]*$"):
        list(RayEngine(Cluster(address, 1, cpus=1)).run(broken, [0], None, no_progress, no_progress))


def test_masks_are_the_same_files(setting, address, tmp_path: Path) -> None:
    table = setting["csv"]
    many = ("--engine", "ray", "--ray-address", address, "--concurrency", 2, "--cpus-per-actor", 1)
    for name, how in (("here", ()), ("many", many)):
        arguments = ("segment", table, "--out", tmp_path / name, "--workers", 0)
        assert das_explain(*arguments, *how) == 0
    here, there = (tree(tmp_path / name) for name in ("here", "many"))
    assert "masks.csv" in here
    assert "overlays/07.jpg" in here
    assert here == there


def test_gates_are_the_same_figures_arrays_and_tables(setting, address, tmp_path: Path) -> None:
    many = ("--engine", "ray", "--ray-address", address, "--concurrency", 2, "--cpus-per-actor", 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, how in (("here", ()), ("many", many)):
        arguments = ("gate", setting["csv"], "--model", setting["models"][1], "--out", tmp_path / name, "--workers", 0)
        assert das_explain(*arguments, "--batch", 2, "--figures", 6, *how) == 0
    torch.set_num_threads(threads)
    here, there = (tree(tmp_path / name) for name in ("here", "many"))
    assert {"gates.csv", "attention.csv", "effects.csv", "regions.jsonl", "05-gate.png", "05-gate.npz"} <= set(here)
    assert "06-gate.png" not in here
    assert here == there
