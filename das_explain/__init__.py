"""das-explain: does an attention gate make a CNN look at the object, or not?"""

from __future__ import annotations

import importlib
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:  # for type checkers and editors
    from das_explain import errors, nn
    from das_explain.cam.engine import grad_cam
    from das_explain.cam.explanation import Explanation
    from das_explain.cam.maps import Cam
    from das_explain.checkpoint.load import load_model
    from das_explain.checkpoint.model import LoadedModel
    from das_explain.data.dataset import open_dataset
    from das_explain.errors import DasExplainError, UsageError
    from das_explain.evidence.run import Run
    from das_explain.measures import MEASURES
    from das_explain.measures.sfd import SFD, sfd_score
    from das_explain.scoring.memory import score
    from das_explain.segment import create_segmenter
    from das_explain.types import Region, Sample

_HOME = {
    "Cam": "cam.maps",
    "grad_cam": "cam.engine",
    "Explanation": "cam.explanation",
    "load_model": "checkpoint.load",
    "LoadedModel": "checkpoint.model",
    "open_dataset": "data.dataset",
    "DasExplainError": "errors",
    "UsageError": "errors",
    "Run": "evidence.run",
    "MEASURES": "measures",
    "SFD": "measures.sfd",
    "sfd_score": "measures.sfd",
    "score": "scoring.memory",
    "create_segmenter": "segment",
    "Region": "types",
    "Sample": "types",
}
"""Public name -> the module that has it."""
_ROOMS = ("errors", "nn")
"""Public modules."""
__all__ = [
    "MEASURES",
    "SFD",
    "Cam",
    "DasExplainError",
    "Explanation",
    "LoadedModel",
    "Region",
    "Run",
    "Sample",
    "UsageError",
    "__version__",
    "create_segmenter",
    "errors",
    "grad_cam",
    "load_model",
    "nn",
    "open_dataset",
    "score",
    "sfd_score",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that the command line answers without loading torch."""
    if name in _HOME:
        return getattr(importlib.import_module(f"das_explain.{_HOME[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"das_explain.{name}")
    raise AttributeError(f"module 'das_explain' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, those that are not imported yet among them."""
    return sorted(__all__)


def _drop_absent_backend() -> None:
    """A notebook hands its MPLBACKEND, ``module://matplotlib_inline...``, to every command that it starts. Where that
    module is not installed, matplotlib cannot even be imported under it; nothing here needs a backend."""
    name = os.environ.get("MPLBACKEND", "")
    if name.startswith("module://") and find_spec(name.removeprefix("module://").partition(".")[0]) is None:
        del os.environ["MPLBACKEND"]


_drop_absent_backend()
