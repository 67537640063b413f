"""Where the networks that come with the project are looked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import das_explain
from das_explain.checkpoint.load import load_model
from das_explain.checkpoint.shipped import shipped_models

ROOT = Path(das_explain.__file__).parents[1]


def laid_out(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir(parents=True)
        for file in ("config.json", "model.safetensors"):
            (root / name / file).write_text("")


def test_a_checkout_s_own_go_before_the_package_s(tmp_path: Path) -> None:
    package = tmp_path / "das_explain"
    laid_out(tmp_path / "models", "b", "a")
    laid_out(package / "_models", "c")
    (tmp_path / "models" / "unfinished").mkdir()
    assert list(shipped_models(package)) == ["c"], "beside an installed package anybody may have a folder models"
    (tmp_path / "pyproject.toml").write_text("")
    assert shipped_models(package) == {name: tmp_path / "models" / name for name in ("a", "b")}


def test_an_installation_without_them(tmp_path: Path) -> None:
    assert shipped_models(tmp_path / "das_explain") == {}


def test_they_are_opened_by_name_from_another_folder(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import das_explain; "
        "print(das_explain.load_model('collage-resnet18', device='cpu').fingerprint)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    expected = load_model(str(ROOT / "models" / "collage-resnet18"), device="cpu").fingerprint
    assert done.stdout.strip() == expected, done.stderr
