"""The networks that come with the project: a short name instead of a path, from any folder.

In a checkout they lie in ``models/`` at its top, in an installed wheel inside the package. A folder of that name in the
working directory goes first: what a person names by its path is what they get.
"""

from __future__ import annotations

from pathlib import Path

from das_explain.checkpoint.config import CONFIG, WEIGHTS

PACKAGE = Path(__file__).parents[1]


def shipped_models(package: Path = PACKAGE) -> dict[str, Path]:
    """Name -> model directory, sorted by name; empty in an installation without them."""
    checkout, inside = package.parent / "models", package / "_models"
    # Beside an installed package anybody may have a folder "models"; a checkout has its pyproject.toml there.
    root = checkout if (package.parent / "pyproject.toml").is_file() and checkout.is_dir() else inside
    return {path.name: path for path in sorted(root.iterdir()) if _is_model(path)} if root.is_dir() else {}


def _is_model(path: Path) -> bool:
    return all((path / name).is_file() for name in (CONFIG, WEIGHTS))
