"""What a wheel and an sdist hold, built here from a copy of the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIED = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "NOTICE", "das_explain", "models")
MODELS = ("collage-resnet18", "collage-das-resnet18")
FILES = ("README.md", "config.json", "model.safetensors")

pytestmark = pytest.mark.skipif(
    int(version("setuptools").split(".")[0]) < 77, reason="pyproject.toml asks for setuptools >= 77"
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


def build(kind: str, checkout: Path, out: Path) -> Path:
    program = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout, capture_output=True, encoding="utf-8", check=True
    )
    return out / done.stdout.splitlines()[-1]


def test_a_wheel_holds_every_module_the_data_and_the_models(checkout: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build("wheel", checkout, tmp_path)) as wheel:
        names = set(wheel.namelist())
        metadata = wheel.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
        for model in MODELS:
            for file in FILES:
                assert (
                    wheel.read(f"das_explain/_models/{model}/{file}") == (ROOT / "models" / model / file).read_bytes()
                )
    ours = {path.relative_to(checkout).as_posix() for path in (checkout / "das_explain").rglob("*") if path.is_file()}
    assert ours <= names
    assert {"das_explain/py.typed", "das_explain/report/templates/index.html.j2"} <= ours
    assert not [name for name in names if name.startswith(("tests/", "models/", "build/"))]
    assert "License-Expression: Apache-2.0" in metadata
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}


def test_an_editable_install_leaves_the_models_where_they_are(checkout: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(build("editable", checkout, tmp_path)) as wheel:
        assert not [name for name in wheel.namelist() if "_models" in name]
    assert not (checkout / "das_explain" / "_models").exists()


def test_an_sdist_holds_what_a_wheel_is_made_of(checkout: Path, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", checkout, tmp_path)) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"setup.py", "LICENSE", "NOTICE", "pyproject.toml"} <= names
    assert {f"models/{model}/{file}" for model in MODELS for file in FILES} <= names
    assert {path.relative_to(checkout).as_posix() for path in (checkout / "das_explain").rglob("*.py")} <= names
