"""``DIR``: a folder with ``config.json`` and ``model.safetensors``, of this project, timm or transformers."""

from __future__ import annotations

from pathlib import Path

from das_explain.checkpoint.layouts import read_folder
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.spec import ModelSpec


def open_directory(spec: ModelSpec) -> Opened:
    """The network in the folder ``spec.target``. Errors as ``read_folder``'s."""
    return read_folder(Path(spec.target))
