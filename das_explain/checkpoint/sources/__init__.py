"""Where networks come from: one file for each kind of model spec, none of which knows another.

A source opens a ``ModelSpec`` and returns an ``Opened``. A new kind is a file, a line here, and its form in ``spec``.
"""

from __future__ import annotations

from collections.abc import Callable

from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.sources import directory, file, hub, python, timm, torchvision
from das_explain.checkpoint.spec import ModelSpec

OPENERS: dict[str, Callable[[ModelSpec], Opened]] = {
    "directory": directory.open_directory,
    "file": file.open_file,
    "torchvision": torchvision.open_torchvision,
    "timm": timm.open_timm,
    "hf": hub.open_hub,
    "python": python.open_python,
}
"""Kind of spec -> what opens it."""
