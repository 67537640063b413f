"""Processes that are handed work: Ctrl-C in the terminal is the parent's affair, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of a terminal's group")
ROOT = Path(__file__).parents[2]
PROGRAM = """
import time
from das_explain.batches.pool import process_pool
from das_explain.signals import Stopped, heard_signals

if __name__ == "__main__":
    try:
        with heard_signals(), process_pool(2, 1) as pool:
            waiting = [pool.submit(time.sleep, 60) for _ in range(4)]
            print(*(process.pid for process in pool._processes.values()), flush=True)
            waiting[0].result()
    except Stopped:
        print("stopped", flush=True)
"""


@pytest.mark.parametrize("after", [0.0, 0.4, 6.0])
def test_who_is_stopped_says_so_alone_and_leaves_no_process(tmp_path: Path, after: float):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [sys.executable, str(program)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    processes = [int(word) for word in started.stdout.readline().split()]
    assert len(processes) == 2
    time.sleep(after)  # still importing, or at work
    os.killpg(started.pid, signal.SIGINT)
    out, err = started.communicate(timeout=30)
    assert (out, err) == ("stopped\n", "")
    assert [process for process in processes if Path(f"/proc/{process}").exists()] == []
