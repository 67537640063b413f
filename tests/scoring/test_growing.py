"""What grows on the disk is what would have grown in memory."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import numpy as np
import pytest

from das_explain.scoring.growing import Growing


@pytest.mark.parametrize("kind", [np.float64, np.float32, bool])
@pytest.mark.parametrize("rest", [(), (3,), (2, 3)])
def test_each_array_is_its_parts_one_after_another(kind: type, rest: tuple[int, ...]):
    rng = np.random.default_rng(0)
    parts = [(rng.random((4, n, *rest)) * 2).astype(kind) for n in (5, 0, 1, 7)]
    growing = Growing()
    for count, part in enumerate(parts, 1):
        growing.add(part.swapaxes(0, 1).copy().swapaxes(0, 1))  # in any order in memory
        for place in (3, 0, 2):
            found = growing.read(place)
            assert found.dtype == kind
            np.testing.assert_array_equal(found, np.concatenate(parts[:count], axis=1)[place])
    growing.close()


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch):
    class Full:
        def seek(self, *_: object) -> None:
            pass

        def write(self, _: object) -> None:
            pass

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(OSError, match="No space left") as failed:
        Growing().add(np.zeros((1, 1)))
    assert Path(failed.value.filename) == Path(tempfile.gettempdir())
