"""``das-explain doctor``, and what stands before a command."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import distributions, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from das_explain import __version__
from das_explain.commands import app

doctor = importlib.import_module("das_explain.commands.doctor")  # as an attribute it is the command
tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]


def test_doctor_names_versions_device_cache_and_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor, "distributions", lambda: [each for each in distributions() if _keeps_one_cv2(each)])
    result = CliRunner().invoke(app, ["doctor"])
    lines = dict(line.split(None, 1) for line in result.output.splitlines())
    assert result.exit_code == 0, result.output
    assert f"torch {version('torch')}" in lines["packages"]
    assert lines["device"].endswith("cpu")
    assert lines["cache"] == f"{tmp_path / 'masks'}, 0 masks"
    assert {f"[{extra}]" for extra in doctor.EXTRAS} <= set(lines)
    assert lines["[segment]"].startswith(f"transformers {version('transformers')}")


def _keeps_one_cv2(each) -> bool:
    name = each.metadata["Name"].lower()
    return not name.startswith("opencv") or name == "opencv-python-headless"


def test_an_extra_that_lacks_a_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    result = CliRunner().invoke(app, ["doctor"])
    assert f"{'[timm]':16}no timm: pip install 'das-explain[timm]'" in result.output.splitlines()


def test_two_distributions_that_own_cv2_are_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cv2").mkdir()
    (tmp_path / "cv2" / "__init__.py").touch()  # from Python 3.12 on, files that are gone are not listed
    for name in ("opencv-python", "opencv_python_headless", "numpy"):
        folder = tmp_path / f"{name}-4.10.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.10.0\n")
        (folder / "RECORD").write_text("cv2/__init__.py,,\n")
    monkeypatch.setattr(doctor, "distributions", lambda: distributions(path=[str(tmp_path)]))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    last = result.output.splitlines()[-1]
    assert last.startswith("trouble")
    assert "2 distributions own cv2" in last
    assert "pip uninstall -y opencv-python opencv_python_headless" in last


def test_a_cache_folder_that_cannot_be_made_is_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAS_EXPLAIN_CACHE", str(tmp_path / "a" / "b"))
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: Path(path) != tmp_path)
    assert doctor._cache()[1] == f"{tmp_path} cannot be written to: set DAS_EXPLAIN_CACHE to another folder"


def test_the_extras_that_doctor_looks_for_are_those_that_pip_installs() -> None:
    asked = {
        extra: {Requirement(each).name for each in needs} for extra, needs in PROJECT["optional-dependencies"].items()
    }
    for extra, distribution in doctor.EXTRAS.items():
        assert set(distribution) <= asked[extra], extra
    assert {Requirement(each).name for each in PROJECT["dependencies"]} >= {*doctor.CORE, *doctor.PHOTOGRAPHS}


@pytest.mark.parametrize("arguments", [["--version"], ["-h"], ["models", "-h"]])
def test_the_module_runs_as_the_command_does(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "das_explain", *arguments], capture_output=True, encoding="utf-8", check=True
    )
    assert (done.stdout == f"das-explain {__version__}\n") if arguments == ["--version"] else ("Usage:" in done.stdout)
    assert __version__ == PROJECT["version"]


def test_shells_can_be_taught_to_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_DAS_EXPLAIN_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "das-explain do")
    monkeypatch.setenv("COMP_CWORD", "1")
    result = CliRunner().invoke(app, [], prog_name="das-explain")
    assert result.output.split() == ["doctor"]
