"""The names of ``das_explain``: all listed, all importable, and none imported before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import das_explain


def test_all_are_listed() -> None:
    assert dir(das_explain) == sorted(das_explain.__all__)
    assert set(das_explain._HOME) | set(das_explain._ROOMS) | {"__version__"} == set(das_explain.__all__)


@pytest.mark.parametrize("name", das_explain.__all__)
def test_each_is_there(name: str) -> None:
    found = getattr(das_explain, name)
    if name in das_explain._HOME and hasattr(found, "__module__") and name != "MEASURES":
        assert found.__name__ == name


def test_the_package_is_imported_without_torch() -> None:
    script = "import sys, das_explain; dir(das_explain); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], cwd=das_explain.__path__[0] + "/..").returncode == 0


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="module 'das_explain' has no attribute 'nothing'"):
        das_explain.nothing  # noqa: B018
