"""Several devices: the same tables as of one, by processes of which each has its share of the shards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from das_explain.evidence.run import Run
from tests.explain.test_pipeline import run, setting  # noqa: F401 - a fixture
from tests.runs import assert_same_numbers

PROGRAM = """
from pathlib import Path
from das_explain.errors import DasExplainError
from das_explain.evidence import shards
from das_explain.explain.plan import Plan

shards.SIZE = 5  # here and in each process: four shards of the sixteen images

def broken(self):
    raise DasExplainError(f"no such card: {{self.device}}")

if __name__ == "__mp_main__" and {broken}:
    Plan.explainer = broken
if __name__ == "__main__":
    from tests.explain.test_pipeline import run
    run({{"csv": {csv!r}, "models": {models!r}}}, Path({out!r}), device="cpu,cpu")
"""


def run_on_two(setting: dict, folder: Path, *, broken: bool) -> subprocess.CompletedProcess[str]:  # noqa: F811
    program = folder / "program.py"
    known = {"csv": str(setting["csv"]), "models": setting["models"], "out": str(folder / "two")}
    program.write_text(PROGRAM.format(broken=broken, **known))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(program)], env=environment, capture_output=True, text=True, timeout=600, cwd=folder
    )


def test_two_devices_make_the_tables_of_one(setting: dict, tmp_path: Path):  # noqa: F811
    done = run_on_two(setting, tmp_path, broken=False)
    assert done.returncode == 0, done.stderr
    one = run(setting, tmp_path / "one")
    assert len(list((tmp_path / "two" / "evidence").glob("*.parquet"))) == 4
    for name in ("scores", "nulls", "lift"):
        assert_same_numbers(Run.open(tmp_path / "two").table(name), one.table(name))


def test_what_goes_wrong_in_a_process_is_told_as_here(setting: dict, tmp_path: Path):  # noqa: F811
    done = run_on_two(setting, tmp_path, broken=True)
    assert done.returncode == 1
    assert "DasExplainError: no such card: cpu" in done.stderr
