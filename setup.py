"""Puts the shipped models into the wheel; everything else is in ``pyproject.toml``.

``models/`` stays at the top of the checkout, where an editable install finds it. A wheel carries it inside the package,
as ``das_explain/_models/``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

MODELS = Path(__file__).parent / "models"


class BuildWithModels(build_py):
    """Copies each model directory beside the modules, unless the install is editable."""

    def run(self) -> None:
        """See ``build_py``."""
        super().run()
        if not self.editable_mode:
            for source, target in self._models():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """See ``build_py``."""
        return super().get_outputs(include_bytecode) + [str(target) for _, target in self._models()]

    def get_output_mapping(self) -> dict[str, str]:
        """See ``build_py``."""
        return {**super().get_output_mapping(), **{str(target): str(source) for source, target in self._models()}}

    def _models(self) -> list[tuple[Path, Path]]:
        inside = Path(self.build_lib, "das_explain", "_models")
        files = sorted(path for path in MODELS.glob("*/*") if path.is_file() and not path.name.startswith("."))
        return [] if self.editable_mode else [(path, inside / path.relative_to(MODELS)) for path in files]


setup(cmdclass={"build_py": BuildWithModels})
