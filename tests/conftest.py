"""One thread per test process: results are the same everywhere and parallel tests do not fight for cores."""

import gc
from collections.abc import Iterator

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def memory_is_looked_through() -> Iterator[None]:
    """No test leaves the process as a command is run in: it would keep every network of the tests after it."""
    before = gc.get_threshold()
    yield
    after = gc.get_threshold()
    gc.set_threshold(*before)
    assert after == before, "the test ran main; run_command is what runs within a process"
