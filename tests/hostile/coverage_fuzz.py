"""One door, knocked at by atheris, which prefers what reaches lines of ``das_explain`` that nothing has reached before:

    python -m tests.hostile.coverage_fuzz "model spec" -max_total_time=600

The flags are libFuzzer's. What breaks a door is left in the folder in which it was given to it, and printed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris
from hypothesis import HealthCheck, given, settings

with atheris.instrument_imports(include=["das_explain"], enable_loader_override=False):
    from tests.hostile.doors import TARGETS, furnish, knock


def main(target: str, flags: list[str]) -> None:
    strategy, door = TARGETS[target]

    @settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def take(example: Any) -> None:
        knock(door, example)

    folder = Path(tempfile.mkdtemp(prefix="das-explain-fuzz-"))
    furnish(folder)
    os.chdir(folder)
    atheris.Setup([sys.argv[0], *flags], take.hypothesis.fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
