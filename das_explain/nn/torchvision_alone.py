"""Imports torchvision without PyTorch's compiler, for which it asks in passing: that takes as long as torchvision twice over.

``torchvision.ops.roi_align`` imports one function of ``torch._dynamo.utils``, which it calls only for boxes on a GPU or
under deterministic algorithms. Meanwhile a module of that name stands in, whose function imports the real one when it is
called. Whatever has been imported already stays as it is.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

NAME = "torch._dynamo.utils"


class StandIn(ModuleType):
    """``torch._dynamo.utils`` while torchvision is imported: anything but the one function is the real module's."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # whoever looks through all modules, as ``inspect`` does, wants nothing of this one
            raise AttributeError(name)
        return getattr(self._real(), name)

    def is_compile_supported(self, device_type: Any) -> Any:
        """The real function, imported when it is called."""
        return self._real().is_compile_supported(device_type)

    def _real(self) -> ModuleType:
        if sys.modules.get(NAME) is self:
            del sys.modules[NAME]
        return importlib.import_module(NAME)


if "torchvision" not in sys.modules and NAME not in sys.modules:
    stand_in = sys.modules[NAME] = StandIn(NAME)
    try:
        importlib.import_module("torchvision")
    finally:
        if sys.modules.get(NAME) is stand_in:
            del sys.modules[NAME]
