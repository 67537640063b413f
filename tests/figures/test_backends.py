"""Figures are drawn under any MPLBACKEND, without a display and without pyplot."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INLINE = "module://matplotlib_inline.backend_inline"  # what a notebook hands to the commands that it starts
PACKAGE = Path(__file__).parents[2] / "das_explain"


def fresh(*arguments: str, backend: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment |= {"MPLBACKEND": backend, "PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, encoding="utf-8", timeout=240
    )


@pytest.mark.parametrize("backend", [INLINE, "TkAgg", "no-such-backend"])
def test_a_command_draws_under_any_backend(backend: str, tmp_path: Path) -> None:
    model = f"plain={PACKAGE.parent / 'models' / 'collage-resnet18'}"
    done = fresh(
        *("-m", "das_explain", "heatmap", "collage:1", "--model", model, "--blocks", "layer4"),
        *("--workers", "0", "--out", str(tmp_path / "maps")),
        backend=backend,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("backend", [INLINE, "TkAgg"])
def test_drawing_from_python_needs_neither_the_backend_nor_pyplot(backend: str, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "import das_explain.gates, das_explain.figures as plots\n"
        "from matplotlib.figure import Figure\n"
        f"plots.save(Figure((1, 1)), {str(tmp_path / 'empty')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = fresh("-c", program, backend=backend)
    assert done.returncode == 0, done.stderr
    assert {path.suffix for path in tmp_path.iterdir()} == {".png", ".pdf"}


def test_no_file_of_the_package_names_pyplot_in_an_import() -> None:
    importing = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if any("import" in line and "pyplot" in line for line in path.read_text("utf-8").splitlines())
    ]
    assert importing == []
