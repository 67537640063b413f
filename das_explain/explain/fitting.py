"""How many photos fit into memory at once: tried, since only the network and the device know."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from das_explain.errors import DasExplainError

Result = TypeVar("Result")


class Fitting:
    """``most``: photos that a network is shown at once; ``None``, all of a batch, until memory has run out."""

    def __init__(self) -> None:
        self.most: int | None = None

    def in_parts(self, count: int, call: Callable[[slice], Result]) -> list[Result]:
        """``call`` on all of ``count`` photos, in order, in parts that fit; what does not is tried again with half of it.

        Raises:
            DasExplainError: not even one photo fits.
        """
        results: list[Result] = []
        start = 0
        while start < count or not results:
            size = min(self.most or count, count - start)
            try:
                results.append(call(slice(start, start + size)))
            except RuntimeError as error:
                if not lacks_memory(error):
                    raise
                if size <= 1:
                    raise DasExplainError(
                        "there is not memory enough to explain one photo: choose later blocks"
                    ) from None
                self.most = size // 2
            else:
                start += size
                continue
            if torch.cuda.is_available():  # out here, where no traceback holds what was made
                torch.cuda.empty_cache()
        return results


def lacks_memory(error: RuntimeError) -> bool:
    """Whether it says that memory ran out: a graphics card's, or, in words of PyTorch's allocators only, other memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("DefaultCPUAllocator", "out of memory", "not enough memory")
    )
