"""The main job on Ray: the same tables as on this machine alone. Runs where the extra ``ray`` is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.explain.test_pipeline import run, setting  # noqa: F401 - a fixture

pytest.importorskip("ray")


def test_actors_make_the_same_tables(setting: dict, tmp_path: Path):  # noqa: F811
    out = tmp_path / "ray"
    script = f"""
import ray
from pathlib import Path
ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
from tests.explain.test_pipeline import run
run({{"csv": {str(setting["csv"])!r}, "models": {setting["models"]!r}}}, Path({str(out)!r}), engine="ray")
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    local = run(setting, tmp_path / "local")
    for name in ("scores", "nulls", "lift"):
        mine = pd.read_csv(out / f"{name}.csv", keep_default_na=False)
        other = pd.read_csv(local.folder / f"{name}.csv", keep_default_na=False)
        pd.testing.assert_frame_equal(mine, other, check_exact=False, rtol=0, atol=1e-5)
