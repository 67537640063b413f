"""das-explain: does an attention gate make a CNN look at the object, or not?"""

from __future__ import annotations

import importlib
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # for type checkers and editors
    from das_explain.cam.engine import Cam, grad_cam
    from das_explain.checkpoint.load import load_model
    from das_explain.errors import DasExplainError, UsageError
    from das_explain.measures.sfd import SFD, sfd_score
    from das_explain.types import LoadedModel, Region, Sample

_HOME = {
    "Cam": "cam.engine",
    "grad_cam": "cam.engine",
    "load_model": "checkpoint.load",
    "DasExplainError": "errors",
    "UsageError": "errors",
    "SFD": "measures.sfd",
    "sfd_score": "measures.sfd",
    "LoadedModel": "types",
    "Region": "types",
    "Sample": "types",
}
__all__ = [
    "SFD",
    "Cam",
    "DasExplainError",
    "LoadedModel",
    "Region",
    "Sample",
    "UsageError",
    "__version__",
    "grad_cam",
    "load_model",
    "sfd_score",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that the command line answers without loading torch."""
    if name in _HOME:
        return getattr(importlib.import_module(f"das_explain.{_HOME[name]}"), name)
    raise AttributeError(f"module 'das_explain' has no attribute {name!r}")


def _drop_absent_backend() -> None:
    """A notebook hands its MPLBACKEND, ``module://matplotlib_inline...``, to every command that it starts. Where that
    module is not installed, matplotlib cannot even be imported under it; nothing here needs a backend."""
    name = os.environ.get("MPLBACKEND", "")
    if name.startswith("module://") and find_spec(name.removeprefix("module://").partition(".")[0]) is None:
        del os.environ["MPLBACKEND"]


_drop_absent_backend()
